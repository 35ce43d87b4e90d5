# Everything a checkout needs. `make demo` and `make test` start from nothing but Python 3.11, git and make.
#
#   demo    a whole site and region on this machine, cut and killed in the middle; needs no root and no broker
#   test    check, then every test; installs mosquitto, rabbitmq-server, postgresql, strace, fuse3, iproute2, mandoc,
#           shellcheck, Java and Maven by apt where they are missing, Kafka by Maven, promtool out of its package
#   check   format, lint, types, generated pages
#   bench   the budgets
#   thingsboard  what one of the benchmarks compares with, in an environment of its own
#   telegraf  what another compares with, built with Go where there is none on the PATH
#   scale   time and memory from few to many series, readings and regions, as plots
#   soak    two hours (HOURS) at a fixed rate with an uplink that is cut every five minutes
#   faults  the long fault and crash tests, and what `image` does
#   image   whole machines: the Debian package installed, upgraded, purged; a cold boot; power cuts; needs root
#   deb     packages for Debian 12 and 13, amd64 and arm64, into dist/; DEB='--release bookworm' says which
#   docs    write the generated pages
#   lock    pin the versions that are installed now
#   clean   remove everything made here

PYTHON ?= python3
KILLS ?= 20
HOURS ?= 2
TELEGRAF := 1.37.2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Installs a Debian package where that may be done, and says what to do where it may not.
define apt
install='apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(1)'; \
command -v apt-get >/dev/null || { echo "$(1) is missing: install it, then make again" >&2; exit 1; }; \
if [ "$$(id -u)" = 0 ]; then sh -c "$$install"; \
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo sh -c "$$install"; \
else echo "$(1) is missing; as root: $$install" >&2; exit 1; fi
endef

# Debian keeps these programs where the PATH of users does not look.
export PATH := $(PATH):/usr/sbin:/sbin:/usr/local/sbin

.PHONY: demo test check bench scale soak thingsboard telegraf faults image deb docs lock clean
.PHONY: mosquitto rabbitmq kafka postgresql promtool disks browser systemd machine pages lintian
.DELETE_ON_ERROR:

demo: $(VENV)/run.stamp
	$(BIN)/gateway demo $(DEMO)

test: $(VENV)/test.stamp mosquitto rabbitmq kafka postgresql promtool disks browser systemd pages check
	$(BIN)/pytest

check: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/gateway config docs --check

bench: $(VENV)/test.stamp mosquitto rabbitmq kafka postgresql disks
	$(BIN)/python -m benchmarks $(BENCH)

scale: $(VENV)/bench.stamp mosquitto
	$(BIN)/python -m benchmarks.scale $(SCALE)

thingsboard: build/thingsboard/stamp

build/thingsboard/stamp: $(VENV)/test.stamp
	$(PYTHON) -m venv build/thingsboard
	build/thingsboard/bin/python -m pip install --quiet --disable-pip-version-check thingsboard-gateway==3.8.5
	touch $@

telegraf:
	@command -v telegraf >/dev/null || $(MAKE) --no-print-directory build/telegraf/telegraf

# With the plugins of the benchmark alone; Go fetches what it is made of.
build/telegraf/telegraf:
	@command -v go >/dev/null || { echo 'go is missing: install Go 1.25.5 or newer, or a telegraf on the PATH' >&2; exit 1; }
	GOBIN=$(CURDIR)/build/telegraf CGO_ENABLED=0 go install \
	  -tags custom,inputs.mqtt_consumer,outputs.mqtt,parsers.json,serializers.influx \
	  -ldflags '-s -w -X github.com/influxdata/telegraf/internal.Version=$(TELEGRAF)' \
	  github.com/influxdata/telegraf/cmd/telegraf@v$(TELEGRAF)

soak: $(VENV)/test.stamp mosquitto
	$(BIN)/python -m benchmarks.soak --hours $(HOURS) $(SOAK)

faults: $(VENV)/test.stamp mosquitto rabbitmq kafka postgresql promtool disks browser systemd machine lintian
	GATEWAY_LONG=1 GATEWAY_KILLS=$(KILLS) $(BIN)/pytest tests/faults tests/integration tests/image

image: $(VENV)/test.stamp mosquitto disks machine lintian
	$(BIN)/pytest tests/image

deb: $(VENV)/test.stamp
	$(BIN)/python -m images.debian.build $(DEB)

docs: $(VENV)/run.stamp
	$(BIN)/gateway config docs --write

lock: $(VENV)/test.stamp
	{ sed -n '/^#/p' requirements.lock; $(PIP) freeze --exclude-editable; } > requirements.new
	mv requirements.new requirements.lock

clean:
	rm -rf $(VENV) tests/.kafka tests/.promtool .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is missing or older than 3.11: install one and say make PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(call apt,python3-venv); }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(BIN)/python pyproject.toml requirements.lock
	$(PIP) install --quiet -c requirements.lock -e .
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(PIP) install --quiet -c requirements.lock -e '.[test]'
	touch $@

$(VENV)/bench.stamp: $(VENV)/test.stamp
	$(PIP) install --quiet -c requirements.lock -e '.[bench]'
	touch $@

mosquitto:
	@command -v mosquitto >/dev/null || { $(call apt,mosquitto); }

rabbitmq:
	@test -x /usr/lib/rabbitmq/bin/rabbitmq-server || { $(call apt,rabbitmq-server); }

postgresql:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { $(call apt,postgresql); }

kafka: tests/.kafka/stamp

tests/.kafka/stamp: tests/support/kafka_jars/pom.xml
	@command -v java >/dev/null || { $(call apt,default-jre-headless); }
	@command -v mvn >/dev/null || { $(call apt,maven); }
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/tests/.kafka
	touch $@

# Out of Debian's package, which is not installed: that would start a Prometheus.
promtool:
	@command -v promtool >/dev/null || test -x tests/.promtool/usr/bin/promtool || { \
	command -v apt-get >/dev/null || { echo 'promtool is missing: install Prometheus, then make again' >&2; exit 1; }; \
	mkdir -p tests/.promtool && cd tests/.promtool && \
	{ apt-get download -q prometheus || { $(call apt,ca-certificates); apt-get download -q prometheus; }; } && \
	dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb; }

browser:
	@command -v chromium >/dev/null || { $(call apt,chromium); }

disks:
	@command -v strace >/dev/null || { $(call apt,strace); }
	@command -v ip >/dev/null || { $(call apt,iproute2); }
	@command -v mkfs.ext4 >/dev/null || { $(call apt,e2fsprogs); }
	@command -v fusermount3 >/dev/null || { $(call apt,fuse3); }

systemd:
	@command -v systemd-analyze >/dev/null || { $(call apt,systemd); }

machine:
	@command -v systemd-nspawn >/dev/null || { $(call apt,systemd-container); }
	@command -v qemu-system-x86_64 >/dev/null || { $(call apt,qemu-system-x86); }
	@command -v qemu-aarch64-static >/dev/null || { $(call apt,qemu-user-static); }
	@command -v debootstrap >/dev/null || { $(call apt,debootstrap); }
	@command -v mkfs.ext4 >/dev/null || { $(call apt,e2fsprogs); }

pages:
	@command -v mandoc >/dev/null || { $(call apt,mandoc); }
	@command -v shellcheck >/dev/null || { $(call apt,shellcheck); }

lintian:
	@command -v lintian >/dev/null || { $(call apt,lintian); }

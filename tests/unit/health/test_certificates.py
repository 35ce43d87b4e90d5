"""What is left of the certificates in files, whatever is in them."""

from gateway.demo.pki import write_pki
from gateway.health.certificates import Certificates


def test_the_certificate_that_ends_first_counts_and_other_files_are_left_out(tmp_path) -> None:
    write_pki(tmp_path)
    (tmp_path / "nonsense.pem").write_text("nonsense", "utf-8")
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "node.pem").read_bytes() + (tmp_path / "ca.pem").read_bytes())
    files = [
        ("region a", "certificate", str(both)),
        ("region a", "ca", str(tmp_path / "ca.pem")),
        ("region b", "certificate", str(tmp_path / "nonsense.pem")),
        ("region b", "ca", str(tmp_path / "missing.pem")),
        ("broker", "ca", ""),
    ]
    certificates = Certificates(files)
    assert certificates.left_s(0.0) == {}
    certificates.look()
    ends = certificates.left_s(0.0)
    assert set(ends) == {"region a"}
    assert 0 < ends["region a"]["certificate"] <= ends["region a"]["ca"]
    assert certificates.left_s(ends["region a"]["ca"] + 10)["region a"]["ca"] == -10

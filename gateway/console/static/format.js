// Quantities as people read them: the same digits and units as `gateway top`.

const DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const counts = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const NONE = "–";

const VALUE_CHARACTERS = 24;

export function count(number) {
  return number === null || number === undefined ? NONE : counts.format(number);
}

export function rate(number) {
  if (number === null || number === undefined) return NONE;
  return number > 0 && number < 100 ? tenths.format(number) : counts.format(number);
}

/** Bytes of a line or a file system. */
export function size(number) {
  return scaled(number, 1000, DECIMAL);
}

/** Bytes of a ring or file of the gateway's, which are sized in powers of two. */
export function room(number) {
  return scaled(number, 1024, BINARY);
}

function scaled(number, step, units) {
  if (number === null || number === undefined) return NONE;
  let value = number, unit = 0;
  while (value >= step - 0.5 && unit < units.length - 1) {
    value /= step;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}

export function share(part) {
  if (part === null || part === undefined) return NONE;
  return part > 0 && part < 0.01 ? `${(part * 100).toFixed(1)} %` : `${Math.round(part * 100)} %`;
}

/** How long, in the two largest units. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds >= 1000 * 86400) return "> 999 d";
  const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const whole = Math.floor(seconds);
  for (let index = 0; index < 3; index += 1) {
    const [length, unit] = steps[index], [smaller, small] = steps[index + 1];
    if (whole >= length) {
      const rest = Math.floor((whole % length) / smaller);
      return `${Math.floor(whole / length)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
    }
  }
  return `${whole} s`;
}

export function some(number, what) {
  return `${count(number)} ${what}${number === 1 ? "" : "s"}`;
}

/** A moment in UTC. */
export function moment(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

export function value(one) {
  if (typeof one !== "number") return String(one).length > VALUE_CHARACTERS ? `${String(one).slice(0, VALUE_CHARACTERS)}…` : String(one);
  if (Number.isInteger(one)) return Math.abs(one) < 1e15 ? counts.format(one) : String(one);
  const size = Math.abs(one);
  return size >= 1e6 || size < 1e-3 ? one.toPrecision(6) : String(Number(one.toPrecision(7)));
}

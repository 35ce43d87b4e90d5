// Questions to the gateway, one origin, no cookies. What goes wrong is a sentence.

const PATIENCE_MS = 8000;

/** Nobody answered, or not in a way that helps. */
export class Gone extends Error {}

/** The gateway answered that it will not. */
export class Refused extends Error {}

export async function ask(path) {
  return read(await sent(path, {}));
}

/** Ask for a change, with the token. */
export async function act(name, keys, token) {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
  return read(await sent(`actions/${name}`, { method: "POST", headers, body: JSON.stringify({ keys }) }, 120000));
}

async function sent(path, options, patience = PATIENCE_MS) {
  try {
    return await fetch(path, { credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(patience), ...options });
  } catch (error) {
    throw new Gone(error.name === "TimeoutError" ? "it took too long" : "no connection");
  }
}

async function read(response) {
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Gone(`its answer cannot be read (HTTP ${response.status})`);
  }
  if (!response.ok) throw new Refused(body.error ?? `HTTP ${response.status}`);
  return body;
}

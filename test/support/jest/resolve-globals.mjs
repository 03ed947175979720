const GLOBALS = new URL('./globals.mjs', import.meta.url).href;

/** Resolves what tests import to {@link GLOBALS}: the package itself works in a realm of jest's alone. */
export function resolve(specifier, context, next) {
  return specifier === '@jest/globals'
    ? { url: GLOBALS, shortCircuit: true }
    : next(specifier, context);
}

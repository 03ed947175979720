import { fileURLToPath } from 'node:url';

/** Where foreign tools are installed and generated code is put; git ignores it. */
export const FOLDER = fileURLToPath(new URL('../../.interop', import.meta.url));

/** Where the sources of this folder stand. */
export const SOURCES = fileURLToPath(new URL('.', import.meta.url));

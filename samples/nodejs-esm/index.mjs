// An ES module with a top-level await: initialisation ends when the await does.
import { readFile } from 'node:fs/promises';

const source = await readFile(new URL(import.meta.url), 'utf8');

export const handler = async (event) => ({ lines: source.split('\n').length, event });

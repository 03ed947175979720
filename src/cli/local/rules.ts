import { readRules, type WrittenRules } from '../../config/load.ts';
import { renderInvalid } from './config.ts';

/** The sections of a file that alert rules are made of; null once it is said what is wrong with them. */
export function readRulesFile(
  configPath: string,
  { stderr }: { stderr: { write(text: string): unknown } },
): WrittenRules | null {
  const read = readRules(configPath);
  if (read.kind === 'read') return read.rules;
  stderr.write(renderInvalid(read));
  return null;
}

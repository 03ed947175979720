export interface CollectedLine {
  level: 'info' | 'warn' | 'error' | 'fatal';
  msg: string;
  [field: string]: unknown;
}

/** A logger that keeps its lines for the test. */
export function collectLog() {
  const lines: CollectedLine[] = [];
  const at = (level: CollectedLine['level']) => (fields: object, msg: string) => {
    lines.push({ ...fields, level, msg });
  };
  return { lines, info: at('info'), warn: at('warn'), error: at('error'), fatal: at('fatal') };
}

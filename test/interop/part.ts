/** One checked behaviour; `problem` is null where it is as it should be. */
export interface CaseResult {
  title: string;
  problem: string | null;
}

/** What one foreign tool checks. */
export interface Part {
  title: string;
  /** Why it is left out on this machine; null where it is played. */
  missing: string | null;
  play: () => Promise<CaseResult[]>;
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Reads what a program says in the Test Anything Protocol; nothing said is a failure. */
export function readTap({ stdout, stderr, code }: Output): CaseResult[] {
  const results: CaseResult[] = [];
  for (const line of stdout.split('\n')) {
    const [, not, title, why = ''] = /^(not )?ok - (.*?)(?: # (.*))?$/.exec(line) ?? [];
    if (title !== undefined) results.push({ title, problem: not === undefined ? null : why });
  }
  const isSilent = results.length === 0;
  const isBroken = code !== 0 && results.every(({ problem }) => problem === null);
  if (isSilent || isBroken) {
    results.push({ title: 'the program ends well', problem: `exit ${code}\n${stdout}${stderr}` });
  }
  return results;
}

/** What a program left behind. */
export interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

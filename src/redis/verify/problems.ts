/**
 * What may be wrong with a store: a record that cannot be read, one that is not where it belongs, one that stands there
 * at another time or place than it says, an entry that stands for no record, a counter that does not add up.
 */
export type ProblemKind = 'unreadable' | 'missing' | 'misplaced' | 'stray' | 'miscounted';

/**
 * How often a problem must be seen: a record and what points to it are read one after the other, and a daemon
 * may write both in between.
 */
const SEEN = 3;

/** Whether something is seen as often as a problem must be. */
export async function seenAgain(see: () => Promise<boolean>): Promise<boolean> {
  for (let seen = 0; seen < SEEN; seen += 1) if (!(await see())) return false;
  return true;
}

/** Examples that are kept of each kind. */
const EXAMPLES = 3;

/** Problems of one kind with keys of one kind. */
export interface StoreProblem {
  problem: ProblemKind;
  /** The first word of the names of the keys. */
  kind: string;
  count: number;
  /** A few of them, in words. */
  examples: string[];
}

/** The problems that were found so far. */
export class Problems {
  private readonly found = new Map<string, StoreProblem>();

  note(problem: ProblemKind, kind: string, example: string): void {
    const name = `${problem} ${kind}`;
    const known = this.found.get(name) ?? { problem, kind, count: 0, examples: [] };
    this.found.set(name, known);
    known.count += 1;
    if (known.examples.length < EXAMPLES) known.examples.push(example);
  }

  all(): StoreProblem[] {
    return [...this.found.values()];
  }
}

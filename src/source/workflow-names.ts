import type { WorkflowKey } from '../core/cadence/phase.ts';
import type {
  WorkflowListOutcome,
  WorkflowPage,
  WorkflowsQuestion,
} from '../core/feed/workflow.ts';
import type { Permit } from '../core/source/rate-limit.ts';
import type { WorkflowNameStore } from '../redis/stores/name-store.ts';

/** Names that are kept of a source. */
export const MOST_NAMES = 2_000;

/** Workflows without a name that are looked for at a time, and that are known to have none. */
const MOST_WANTED = 1_000;

/** The most workflows that one pass over the list reads. */
const MOST_READ = 2_000;

/** Workflows on a page, halved while pages are too large. */
const PAGE_SIZE = 64;

/** The least time between two passes, in all processes, ms. */
const PASS_EVERY_MS = 3 * 60_000;

/** A list is read again after this time, whether it was refused or gave names: workflows are renamed, ms. */
const RENEW_MS = 3_600_000;

/** How long after its start a process reads no list: the first polls go first, ms. */
export const DELAY_MS = 8_000;

/** How often names that other processes have read are loaded, ms. */
const OTHERS_EVERY_MS = 30_000;

/** How long another process takes to read the list, ms, and how often names are looked up meanwhile. */
const OTHERS_READ_MS = 3_000;
const LOOK_UP_EVERY_MS = 250;

/** How the list of a source is read. */
export interface WorkflowReader {
  readWorkflows(question: WorkflowsQuestion): Promise<WorkflowListOutcome>;
  /** A permit for one page, without waiting; null while there is none. */
  claimPermit(): Promise<Permit | null>;
}

/** A pass over the list of workflows. */
interface Pass {
  /** Workflows read so far. */
  read: number;
  size: number;
}

/** What is known of the names of one source. */
interface SourceNames {
  names: Map<string, string>;
  /** Workflows that some watch has, and that have no name. */
  wanted: Set<string>;
  /** Those of them that the list lacked when it was read last. */
  lacking: ReadonlySet<string>;
  /** Whether a name was used since names were read. */
  isUsed: boolean;
  readAt: number | null;
  /** Whether this process reads the list. */
  isTended: boolean;
  /** Nothing is read before this time, unless a message waits for a name. */
  delayedUntil: number;
  /** Nothing is done before this time. */
  notBefore: number;
  /** Until this time another process may be reading the list. */
  othersUntil: number;
  /** When names that it may have read were last looked up. */
  lookedUpAt: number;
  pass: Pass | null;
}

/**
 * The names that a source gives workflows, learned from its list. It is read once a watch has a workflow
 * without a name, a page at a time. Without it, ids stand for names.
 */
export class WorkflowNames {
  private readonly bySource = new Map<string, SourceNames>();

  constructor(
    private readonly store: Pick<WorkflowNameStore, 'all' | 'some' | 'put' | 'claimPass'>,
    private readonly now: () => number,
  ) {}

  /** Reads the names that processes have learned before, so that the first events have them. */
  async start(sources: readonly string[]): Promise<void> {
    for (const source of sources) await this.load(source, this.namesOf(source));
  }

  /** The name of a workflow; null where none is known, and then it is wanted. */
  nameOf({ source, workflowId }: WorkflowKey): string | null {
    const known = this.namesOf(source);
    const name = known.names.get(workflowId);
    if (name !== undefined) {
      known.isUsed = true;
      return name;
    }
    if (known.wanted.size < MOST_WANTED) known.wanted.add(workflowId);
    return null;
  }

  /**
   * Whether a name that is not known may be known soon: the list was not read since it is wanted, and may
   * be read now. Then the first polls are not waited for.
   */
  isExpected({ source, workflowId }: WorkflowKey): boolean {
    const known = this.namesOf(source);
    const { isTended, wanted, names, lacking, pass, notBefore, othersUntil } = known;
    const isWanted = wanted.has(workflowId) && !names.has(workflowId) && !lacking.has(workflowId);
    if (!isTended || !isWanted) return false;
    known.delayedUntil = 0;
    const now = this.now();
    return pass !== null || notBefore <= now || othersUntil > now;
  }

  /** Learns the wanted names that another process may have read meanwhile. */
  async lookUp(source: string): Promise<void> {
    const known = this.namesOf(source);
    const now = this.now();
    if (known.othersUntil <= now || now - known.lookedUpAt < LOOK_UP_EVERY_MS) return;
    known.lookedUpAt = now;
    for (const [id, name] of await this.store.some(source, [...known.wanted])) {
      known.names.set(id, name);
    }
  }

  /** Notes the name that an answer about a run gives its workflow. */
  async note({ source, workflowId: id }: WorkflowKey, name: string): Promise<void> {
    const known = this.namesOf(source);
    if (known.names.get(id) !== name) await this.learn(source, known, [{ id, name }]);
  }

  /** Reads at most one page of a source's list, where a name is wanted and nothing is in the way. */
  async tend(source: string, reader: WorkflowReader): Promise<void> {
    const known = this.namesOf(source);
    known.isTended = true;
    if (Math.max(known.notBefore, known.delayedUntil) > this.now()) return;
    if (known.readAt === null) await this.load(source, known);
    if (!this.isWanted(known)) return;
    known.pass ??= await this.begin(source, known);
    if (known.pass === null) return;
    const permit = await reader.claimPermit();
    if (permit === null) return;
    const { read, size } = known.pass;
    const outcome = await reader.readWorkflows({ page: Math.floor(read / size) + 1, size });
    permit.settle();
    if (outcome.kind === 'page') await this.takeIn(source, known, outcome.page);
    else this.end(known, outcome.kind);
  }

  private namesOf(source: string): SourceNames {
    const known = this.bySource.get(source) ?? {
      names: new Map(),
      wanted: new Set(),
      lacking: new Set(),
      isUsed: false,
      readAt: null,
      isTended: false,
      delayedUntil: this.now() + DELAY_MS,
      notBefore: 0,
      othersUntil: 0,
      lookedUpAt: 0,
      pass: null,
    };
    this.bySource.set(source, known);
    return known;
  }

  private async load(source: string, known: SourceNames): Promise<void> {
    known.names = await this.store.all(source);
    known.readAt = this.now();
    known.isUsed = false;
  }

  private isWanted({ names, wanted, lacking, isUsed, readAt, pass }: SourceNames): boolean {
    for (const id of wanted) if (names.has(id)) wanted.delete(id);
    if (pass !== null) return true;
    if (this.now() - (readAt ?? 0) >= RENEW_MS) return isUsed || wanted.size > 0;
    return [...wanted].some((id) => !lacking.has(id));
  }

  private async begin(source: string, known: SourceNames): Promise<Pass | null> {
    if (await this.store.claimPass(source, PASS_EVERY_MS)) return { read: 0, size: PAGE_SIZE };
    await this.load(source, known);
    known.notBefore = this.now() + OTHERS_EVERY_MS;
    known.othersUntil = this.now() + OTHERS_READ_MS;
    return null;
  }

  private async takeIn(source: string, known: SourceNames, page: WorkflowPage): Promise<void> {
    const pass = known.pass ?? { read: 0, size: PAGE_SIZE };
    await this.learn(source, known, page.workflows);
    known.pass = nextPass(pass, page);
    const isOver = page.isLast || known.pass.read >= MOST_READ;
    const isFound = known.wanted.size > 0 && [...known.wanted].every((id) => known.names.has(id));
    if (isOver || isFound) this.end(known, isOver ? 'read' : 'found');
  }

  private async learn(
    source: string,
    { names }: SourceNames,
    named: WorkflowPage['workflows'],
  ): Promise<void> {
    for (const { id, name } of named) names.set(id, name);
    // The names that were learned first go first.
    const forgotten = [...names.keys()].slice(0, Math.max(0, names.size - MOST_NAMES));
    for (const id of forgotten) names.delete(id);
    await this.store.put(source, named, forgotten);
  }

  private end(
    known: SourceNames,
    how: 'read' | 'found' | Exclude<WorkflowListOutcome['kind'], 'page'>,
  ): void {
    const now = this.now();
    const isRefused = how === 'not_offered' || how === 'forbidden' || how === 'unauthorized';
    known.pass = null;
    known.readAt = now;
    known.isUsed = false;
    known.notBefore = now + (isRefused ? RENEW_MS : PASS_EVERY_MS);
    if (how === 'read') known.lacking = new Set(known.wanted);
  }
}

/** Behind a page that was cut off, smaller ones follow. */
function nextPass({ read, size }: Pass, { items, isCut }: WorkflowPage): Pass {
  const start = Math.floor(read / size) * size;
  if (!isCut) return { read: start + size, size };
  return { read: Math.max(read, start + items), size: Math.max(1, size / 2) };
}

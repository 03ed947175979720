import { meets, type AlertEvent, type Rule } from './rule.ts';

/** What of an event `when` of a rule is about. */
type IndexedEvent = Omit<AlertEvent, 'id' | 'at'>;

/**
 * Rules by one thing that an event must have for them: a workflow, an entry of metadata, or a source. A
 * thousand rules, each of its own workflows or team, cost an event of none of them some look-ups
 * (`bench -- rules`).
 */
export class RuleIndex {
  private readonly byTrait = new Map<string, Rule[]>();
  private readonly ofAll: Rule[] = [];

  constructor(rules: readonly Rule[]) {
    for (const rule of rules) {
      const traits = traitsNeeded(rule);
      if (traits === null) this.ofAll.push(rule);
      for (const trait of new Set(traits)) {
        const same = this.byTrait.get(trait);
        if (same === undefined) this.byTrait.set(trait, [rule]);
        else same.push(rule);
      }
    }
  }

  /** The rules that have no condition which an event does not meet. */
  meeting(event: IndexedEvent): Rule[] {
    const found = traitsOf(event).flatMap((trait) => this.byTrait.get(trait) ?? []);
    return [...found, ...this.ofAll].filter((rule) => meets(rule, event));
  }
}

/** Traits of which an event must have one, of the kind that fewest events share; null for none. */
function traitsNeeded({ when }: Rule): string[] | null {
  if (when === undefined) return null;
  if (when.workflow_id !== undefined) return when.workflow_id.map(workflowTrait);
  const [entry] = Object.entries(when.metadata ?? {});
  if (entry !== undefined) return entry[1].map((value) => metadataTrait(entry[0], value));
  return when.source?.map(sourceTrait) ?? null;
}

function traitsOf({ source, metadata, run }: IndexedEvent): string[] {
  const workflow = run?.workflowId ?? null;
  return [
    ...(workflow === null ? [] : [workflowTrait(workflow)]),
    ...Object.entries(metadata).map(([key, value]) => metadataTrait(key, value)),
    sourceTrait(source),
  ];
}

const workflowTrait = (id: string) => `workflow ${id}`;
const metadataTrait = (key: string, value: string) => `metadata ${key}=${value}`;
const sourceTrait = (name: string) => `source ${name}`;

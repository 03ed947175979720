import { RunwatchError } from '../core/errors.ts';
import { STORIES, STORY_NAMES, type StoryName } from './stories.ts';
import { DEFINITION } from './workflow-nodes.ts';
import { GROUP_ID } from './wire-run.ts';

/** The workflow of runs that name none; a run started there completes unless its input says other. */
export const DEFAULT_WORKFLOW_ID = '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60';

const MAX_WORKFLOWS = 10_000;

const CREATED_AT = '2026-01-01T00:00:00.000Z';

/** Stories of a past or of an id, which nothing that is started now can have. */
const NOT_STARTABLE: ReadonlySet<StoryName> = new Set(['already_finished', 'rejected']);

/** The stories that `POST …/runs` can start. */
export const STARTABLE_STORIES = STORY_NAMES.filter((name) => !NOT_STARTABLE.has(name));

export interface Workflow {
  id: string;
  name: string;
  /** What a run that is started there does. */
  story: StoryName;
}

/** The workflows of a simulator: one for each story, and those that were added. */
export class WorkflowCatalog {
  readonly #workflows = new Map<string, Workflow>();

  constructor() {
    this.#put({ id: DEFAULT_WORKFLOW_ID, name: 'anything', story: 'completes' });
    for (const story of STARTABLE_STORIES) {
      this.#put({ id: workflowOfStory(story), name: story, story });
    }
  }

  get all(): Workflow[] {
    return [...this.#workflows.values()];
  }

  find(id: string): Workflow | null {
    return this.#workflows.get(id.toLowerCase()) ?? null;
  }

  /**
   * Adds a workflow, or replaces the one with its id.
   * @throws RunwatchError `too_many_workflows`
   */
  add(workflow: Workflow): void {
    if (this.#workflows.size >= MAX_WORKFLOWS) {
      throw new RunwatchError(`at most ${MAX_WORKFLOWS} workflows`, { code: 'too_many_workflows' });
    }
    this.#put({ ...workflow, id: workflow.id.toLowerCase() });
  }

  #put(workflow: Workflow): void {
    this.#workflows.set(workflow.id, workflow);
  }
}

/** The id of the workflow of this story; the same in every simulator. */
export function workflowOfStory(story: StoryName): string {
  if (NOT_STARTABLE.has(story)) return DEFAULT_WORKFLOW_ID;
  const place = STORY_NAMES.indexOf(story) + 1;
  return `51a70000-0000-4000-8000-${place.toString(16).padStart(12, '0')}`;
}

/** A workflow as Noxus sends it. */
export function wireWorkflow({ id, name, story }: Workflow): object {
  return {
    id,
    group_id: GROUP_ID,
    name,
    description: `A run of it ${STORIES[story].summary}.`,
    type: 'flow',
    flow_version: DEFINITION.flow_version,
    created_at: CREATED_AT,
    updated_at: CREATED_AT,
    definition: DEFINITION,
  };
}

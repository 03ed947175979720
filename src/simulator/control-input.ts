import { z } from 'zod';
import { randomScripts } from './random-scripts.ts';
import {
  progressSchema,
  runIdSchema,
  scriptSchema,
  statusSchema,
  type ScriptInput,
} from './script-schema.ts';
import { story, STORY_NAMES } from './stories.ts';
import { workflowOfStory } from './workflow-catalog.ts';

const storyRequest = z
  .strictObject({
    story: z.enum(STORY_NAMES),
    id: runIdSchema.optional(),
    workflow_id: z.uuid().optional(),
    starts: z.enum(['at_once', 'when_read']).optional(),
  })
  .transform(({ story: name, ...rest }): ScriptInput[] => [
    { workflow_id: workflowOfStory(name), ...story(name), ...rest },
  ]);

const randomRequest = z
  .strictObject({
    random: z.strictObject({
      count: z.int().min(1).max(10_000),
      seed: z.int().min(0).max(0xffff_ffff).default(0),
      within_ms: z.int().min(10).max(86_400_000).default(30_000),
      min_pause_ms: z.int().min(1).max(86_400_000).optional(),
    }),
  })
  .transform(({ random }) => randomScripts(random));

const scriptRequest = scriptSchema.transform((script): ScriptInput[] => [script]);

/** A status that takes over a run. */
export const statusRequest = z.strictObject({
  status: statusSchema,
  progress: progressSchema.optional(),
});

/** A workflow of the user's own; one with the same id is replaced. */
export const workflowRequest = z.strictObject({
  id: z.uuid(),
  name: z.string().min(1).max(200),
  story: z.enum(STORY_NAMES).default('completes'),
});

const time = z.coerce.number().int().min(0);

/** Which part of the request log to return. */
export const statsQuery = z.strictObject({
  run_id: runIdSchema.optional(),
  from: time.optional(),
  to: time.optional(),
});

/** Runs are asked for in three ways; choosing by key gives errors that speak of the way meant. */
export function scriptsSchema(value: unknown): z.ZodType<ScriptInput[]> {
  if (typeof value !== 'object' || value === null) return scriptRequest;
  if ('story' in value) return storyRequest;
  return 'random' in value ? randomRequest : scriptRequest;
}

import { z } from 'zod';
import { faultSchema } from './fault.ts';
import { streamSettingsSchema } from './stream-settings.ts';

const MAX_PRIVATE_BYTES = 8_388_608;

const offset = z.int().min(0).max(31_536_000_000);

export const runIdSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    'expected 1 to 128 letters, digits, ".", "_" or "-"',
  );

export const statusSchema = z.string().min(1).max(64);
export const progressSchema = z.int();

/** A moment in the life of a run: what changes there. Absent fields do not change. */
const stepSchema = z.strictObject({
  /** Milliseconds after the run was created. */
  after_ms: offset,
  status: statusSchema.optional(),
  progress: progressSchema.optional(),
});

/** What plays: everything of a script but its name. A ready-made story is this and no more. */
const plotSchema = z.strictObject({
  /** Every run begins as `queued` at 0 %. While `running`, progress moves evenly to the next step's. */
  steps: z.array(stepSchema).max(1_000).default([]),
  /** How old the run is already when it is added, ms. */
  age_ms: offset.optional(),
  /** `when_read`: the run waits in its first state until it is first read, unless it has an age. */
  starts: z.enum(['at_once', 'when_read']).optional(),
  /** 404 before this, ms after creation: runs may become visible late. */
  visible_after_ms: offset.optional(),
  /** 404 from this on, ms after creation. */
  deleted_after_ms: offset.optional(),
  /** 422, always. */
  rejected: z.boolean().optional(),
  faults: z.array(faultSchema).max(100).optional(),
});

/** A scripted run as people write it. */
export const scriptSchema = plotSchema.extend({
  id: runIdSchema.optional(),
  workflow_id: z.uuid().optional(),
  workflow_version_id: z.uuid().nullable().optional(),
  single_node_id: z.string().max(128).nullable().optional(),
  /** What the run was started with, which is also in its output; default: private filler. */
  input: z.record(z.string(), z.unknown()).optional(),
  /** How its event stream behaves, where it differs from the simulator's others. */
  stream: streamSettingsSchema.optional(),
  created_at: z.iso.datetime({ offset: true }).optional(),
  /** `naive`: without a zone and with microseconds, as Python writes them. */
  timestamps: z.enum(['utc', 'naive']).optional(),
  /** How large `input` and `definitions` are together, roughly. */
  private_bytes: z.int().min(0).max(MAX_PRIVATE_BYTES).optional(),
});

export type Plot = z.input<typeof plotSchema>;
export type ScriptInput = z.input<typeof scriptSchema>;

import { z } from 'zod';

const MAX_EVENT_BYTES = 1_048_576;

const interval = z.int().min(0).max(3_600_000);

/** How the event stream of a run behaves. Breaks, refusals and lies are faults (`fault.ts`). */
export const streamSettingsSchema = z.strictObject({
  /** While the run is running, a `state` event this often, ms; 0: only at changes of its status. */
  state_every_ms: interval.exactOptional(),
  /** While the run is running, a `content` event of its running node this often, ms; 0: none. */
  content_every_ms: interval.exactOptional(),
  /** By how much each `state` event is padded, bytes. */
  state_bytes: z.int().min(0).max(MAX_EVENT_BYTES).exactOptional(),
  /** Entering these statuses goes unmentioned; `*` stands for all of them. */
  silent_on: z.array(z.string().min(1).max(64)).max(20).exactOptional(),
  /** Whether the stream of a stopped run ends, or remains open without another event. */
  on_stop: z.enum(['end', 'stay']).exactOptional(),
  /** Whether `etag` resumes a stream; otherwise each one begins with what is so now. */
  resumes: z.boolean().exactOptional(),
});

export type StreamSettingsInput = z.input<typeof streamSettingsSchema>;
export type StreamSettings = Required<z.output<typeof streamSettingsSchema>>;

export const DEFAULT_STREAM_SETTINGS: StreamSettings = {
  state_every_ms: 1_000,
  content_every_ms: 200,
  state_bytes: 0,
  silent_on: [],
  on_stop: 'end',
  resumes: true,
};

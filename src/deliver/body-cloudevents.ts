import type { BodyKind } from './body-kind.ts';
import { parseEvent, type ToldEvent } from './told-event.ts';

/** What types begin with, so that they are ours among those of other producers. */
const TYPE_PREFIX = 'runwatch.';

/**
 * A CloudEvent in structured JSON: `runwatch.run.failed` from `/runwatch/<source>` about the run.
 * Source: CloudEvents 1.0.2, https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md,
 * and its JSON event format, section 3.
 */
export const cloudEventsBody: BodyKind = {
  contentType: 'application/cloudevents+json',
  render(eventText) {
    const { id, type, timestamp, data } = parseEvent(eventText);
    return JSON.stringify({
      specversion: '1.0',
      id,
      source: sourceOf(data),
      type: type.startsWith(TYPE_PREFIX) ? type : TYPE_PREFIX + type,
      ...(data.run_id !== undefined && { subject: data.run_id }),
      time: timestamp,
      datacontenttype: 'application/json',
      data,
    });
  },
};

/** A URI reference, and with the id unique, as the specification asks. */
function sourceOf({ watch }: ToldEvent['data']): string {
  return watch === undefined ? '/runwatch' : `/runwatch/${encodeURIComponent(watch.source)}`;
}

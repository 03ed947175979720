import type { BodyKindName } from '../../core/delivery/delivery.ts';
import { parseEvent, type SentEvent } from './notice/sent-event.ts';

/** One form of a webhook's body. */
export interface BodyKind {
  readonly contentType: string;
  /**
   * Makes the body from an event's JSON text alone, so that every attempt sends the same bytes.
   */
  render(eventText: string): string;
}

/** Prefix of our types among those of other producers. */
const TYPE_PREFIX = 'runwatch.';

/**
 * A CloudEvent in structured JSON: `runwatch.run.failed` from `/runwatch/<source>` about the run.
 * Source: CloudEvents 1.0.2, https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md,
 * and its JSON event format, section 3.
 */
const cloudEventsBody: BodyKind = {
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

/** A URI reference; with the id it is unique, as the specification requires. */
function sourceOf({ watch }: SentEvent['data']): string {
  return watch === undefined ? '/runwatch' : `/runwatch/${encodeURIComponent(watch.source)}`;
}

/** The event as it is stored, byte for byte. */
export const standardBody: BodyKind = {
  contentType: 'application/json',
  render: (eventText) => eventText,
};

/** The kinds of bodies that `body` of a webhook endpoint may name. */
export const BODY_KINDS: Readonly<Record<BodyKindName, BodyKind>> = {
  standard: standardBody,
  cloudevents: cloudEventsBody,
};

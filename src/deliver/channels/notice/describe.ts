import { alertNotice } from './alert.ts';
import type { Notice, OwnerOf } from './notice.ts';
import { foldedNotice, runNotice } from './runs.ts';
import type { SentEvent } from './sent-event.ts';
import { systemNotice } from './system.ts';

/** What a message about an event says to people, or about several events of one type. */
export function noticeOf(
  events: readonly [SentEvent, ...SentEvent[]],
  ownerOf: OwnerOf = () => null,
): Notice {
  const [event] = events;
  if (events.length > 1) return foldedNotice(events, ownerOf);
  if (event.data.alert !== undefined) return alertNotice(event, event.data.alert);
  if (event.data.run_id === undefined) return systemNotice(event);
  return runNotice(event, ownerOf);
}

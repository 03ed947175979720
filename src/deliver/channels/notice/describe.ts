import { alertNotice } from './alert.ts';
import { batchNotice } from './batch.ts';
import { oneLine, type Notice, type Wording } from './notice.ts';
import { foldedNotice, runNotice } from './runs.ts';
import type { SentBatch, SentEvent } from './sent-event.ts';
import { systemNotice } from './system.ts';

/** Without a configuration. */
const BY_NAME: Wording = { ownerOf: () => null, labelOf: (source) => source };

/** What a message about an event says to people, or about several events of one type. */
export function noticeOf(
  events: readonly [SentEvent, ...SentEvent[]],
  wording: Wording = BY_NAME,
): Notice {
  return withoutBlanks(wholeNotice(events, wording));
}

/** Discord and Teams refuse a message of which one name or value is blank. */
function withoutBlanks({ lines, facts, owner, ...rest }: Notice): Notice {
  return {
    ...rest,
    lines: lines.filter(hasText),
    facts: facts.filter((fact) => fact.every(hasText)),
    owner: owner !== null && hasText(owner) ? owner : null,
  };
}

function hasText(text: string): boolean {
  return oneLine(text, text.length) !== '';
}

function wholeNotice(events: readonly [SentEvent, ...SentEvent[]], wording: Wording): Notice {
  const [event] = events;
  if (events.length > 1) return foldedNotice(events, wording);
  if (event.data.alert !== undefined) return alertNotice(event, event.data.alert);
  if (isOfBatch(event.data)) return batchNotice(event, event.data);
  if (event.data.run_id === undefined) return systemNotice(event, wording);
  return runNotice(event, wording);
}

function isOfBatch(data: SentEvent['data']): data is SentEvent['data'] & SentBatch {
  return data.batch !== undefined;
}

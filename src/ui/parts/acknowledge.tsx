import { useState } from 'preact/hooks';
import { signal } from '@preact/signals';
import type { Acknowledgement } from '../api/calls.ts';
import { session } from '../api/session.ts';
import type { Acknowledged } from '../api/types.ts';
import { Dialog } from './basics.tsx';
import { Ago, Clock } from './time.tsx';
import { act } from './toast.tsx';
import { setSetting, settings } from './settings.ts';

interface Asked {
  /** What is acknowledged, as a user names it. */
  what: string;
  send: (body: Acknowledgement) => Promise<unknown>;
  onDone: () => void;
}

const asked = signal<Asked | null>(null);

/** Asks for the user's name, then marks something as handled in it. */
export function acknowledge(what: Asked): void {
  asked.value = what;
}

const UNTIL = [
  ['', 'its state changes'],
  ['1h', '1 hour from now'],
  ['8h', '8 hours from now'],
  ['1d', '1 day from now'],
] as const;

const MS = { '1h': 3_600_000, '8h': 28_800_000, '1d': 86_400_000 } as Readonly<
  Record<string, number>
>;

/** The moment that a duration ahead names; undefined for none. */
export function momentAhead(duration: string): string | undefined {
  const ms = MS[duration];
  return ms === undefined ? undefined : new Date(Date.now() + ms).toISOString();
}

export function AcknowledgeDialog() {
  const shown = asked.value;
  return shown === null ? null : <Form {...shown} key={shown.what} />;
}

function Form({ what, send, onDone }: Asked) {
  const [by, setBy] = useState(settings.peek().name || session.peek().token || '');
  const [comment, setComment] = useState('');
  const [until, setUntil] = useState('');
  const close = () => (asked.value = null);
  const submit = async () => {
    setSetting({ name: by });
    const at = momentAhead(until);
    const body = {
      by: by.trim(),
      ...(comment.trim() !== '' && { comment: comment.trim() }),
      ...(at !== undefined && { until: at }),
    };
    if (await act(`Acknowledged ${what}.`, () => send(body))) onDone();
    close();
  };
  return (
    <Dialog title={`Acknowledge ${what}`} onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h2>Acknowledge {what}</h2>
        <p class="faint">No reminders and no escalation until its state changes.</p>
        <label>
          Your name
          <input
            required
            maxLength={120}
            value={by}
            onInput={({ currentTarget }) => setBy(currentTarget.value)}
          />
        </label>
        <label>
          Comment
          <input
            maxLength={500}
            value={comment}
            placeholder="what you do about it"
            onInput={({ currentTarget }) => setComment(currentTarget.value)}
          />
        </label>
        <label>
          Until
          <select value={until} onChange={({ currentTarget }) => setUntil(currentTarget.value)}>
            {UNTIL.map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <div class="dialog-foot">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button class="primary">Acknowledge</button>
        </div>
      </form>
    </Dialog>
  );
}

/** The user that has marked something as handled, and the comment. */
export function AcknowledgedBy({
  acknowledged,
}: {
  acknowledged: Acknowledged | null | undefined;
}) {
  if (acknowledged === null || acknowledged === undefined) return null;
  const { by, at, comment, until } = acknowledged;
  return (
    <p class="notice">
      Acknowledged by <strong>{by}</strong> <Ago at={at} />
      {comment !== null && <>: {comment}</>}
      {until !== null && (
        <>
          {' '}
          (until <Clock at={until} />)
        </>
      )}
    </p>
  );
}

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { signal } from '@preact/signals';
import type { AcknowledgeBody } from '../../client/types.ts';
import { api, type RunRef } from '../api/calls.ts';
import type { Acknowledged } from '../api/types.ts';
import { Dialog } from './basics.tsx';
import { knownName, LENGTHS, Problem, SelectField, TextField, useSubmit } from './form.tsx';
import { setSetting } from './settings.ts';
import { Ago, Clock } from './time.tsx';

interface Asked {
  /** What is acknowledged, as a user names it. */
  what: string;
  /** Says more of what that is. */
  about?: ComponentChildren;
  send: (body: AcknowledgeBody) => Promise<unknown>;
  onDone?: () => void;
}

const asked = signal<Asked | null>(null);

/** Asks for the user's name, then marks something as handled in it. */
export function acknowledge(what: Asked): void {
  asked.value = what;
}

export function acknowledgeRun(run: RunRef, onDone?: () => void): void {
  acknowledge({
    what: `run ${run.run_id}`,
    send: (body) => api.acknowledgeRun(run, body),
    ...(onDone && { onDone }),
  });
}

/** @param name what the alert is called: its rule, perhaps with its workflow */
export function acknowledgeAlert(id: string, name: string, onDone: () => void): void {
  acknowledge({
    what: `the alert ${name}`,
    send: (body) => api.acknowledgeAlert(id, body),
    onDone,
  });
}

/** Runs of an entry, or as many of them as it lists. */
export function acknowledgeRuns(runs: readonly RunRef[], what: string, onDone: () => void): void {
  acknowledge({
    what,
    send: (body) => Promise.all(runs.map((run) => api.acknowledgeRun(run, body))),
    onDone,
  });
}

/** @param name what the workflow is called, or the source where the runs have none */
export function acknowledgeFailures(
  { source, workflowId }: { source: string; workflowId: string | null },
  name: string,
  onDone: () => void,
): void {
  acknowledge({
    what: `the failures of ${name}`,
    send: (body) => api.acknowledgeFailures(source, workflowId, body),
    onDone,
  });
}

const UNTIL = [
  ['', 'its state changes'],
  ...LENGTHS.map(([length, name]) => [length, `${name} from now`] as const),
] as const;

export function AcknowledgeDialog() {
  const shown = asked.value;
  return shown === null ? null : <Form {...shown} key={shown.what} />;
}

function Form({ what, about, send, onDone }: Asked) {
  const [by, setBy] = useState(knownName);
  const [comment, setComment] = useState('');
  const [until, setUntil] = useState('');
  const close = () => (asked.value = null);
  const acknowledgeIt = async () => {
    setSetting({ name: by });
    await send({
      by: by.trim(),
      ...(comment.trim() !== '' && { comment: comment.trim() }),
      ...(until !== '' && { until }),
    });
    onDone?.();
  };
  const { isBusy, problem, onSubmit } = useSubmit(acknowledgeIt, `Acknowledged ${what}.`, close);
  return (
    <Dialog title={`Acknowledge ${what}`} onClose={close}>
      <form onSubmit={onSubmit}>
        <h2>Acknowledge {what}</h2>
        {about}
        <p class="faint">No reminders and no escalation until its state changes.</p>
        <TextField label="Your name" value={by} onInput={setBy} isRequired maxLength={120} />
        <TextField
          label="Comment"
          value={comment}
          onInput={setComment}
          placeholder="what you do about it"
        />
        <SelectField label="Until" value={until} onInput={setUntil} options={UNTIL} />
        <Problem text={problem} />
        <div class="dialog-foot">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button class="primary" disabled={isBusy}>
            Acknowledge
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** The user that has marked something as handled, and the comment. */
export function AcknowledgedBy({ acknowledged }: { acknowledged: Acknowledged | null }) {
  if (acknowledged === null) return null;
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

import { useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import type { Alert } from '../api/types.ts';
import { Dialog } from './basics.tsx';
import { knownName, Problem, TextField, useSubmit } from './form.tsx';
import { setSetting } from './settings.ts';

interface ResolveProps {
  alert: Alert;
  onClose: () => void;
  onDone: () => void;
}

/** Asks for the user's name, then ends an alert in it. */
export function ResolveDialog({ alert: { id, rule }, onClose, onDone }: ResolveProps) {
  const [by, setBy] = useState(knownName);
  const [comment, setComment] = useState('');
  const resolve = async () => {
    setSetting({ name: by });
    const body = { by: by.trim(), ...(comment.trim() !== '' && { comment: comment.trim() }) };
    await api.resolveAlert(id, body);
    onDone();
  };
  const { isBusy, problem, onSubmit } = useSubmit(resolve, `Resolved the alert ${rule}.`, onClose);
  return (
    <Dialog title={`Resolve the alert ${rule}`} onClose={onClose}>
      <form onSubmit={onSubmit}>
        <h2>Resolve the alert {rule}</h2>
        <p class="faint">
          Its end is sent to those who were notified. Where the cause goes on, the next event that
          meets the rule opens another alert.
        </p>
        <TextField label="Your name" value={by} onInput={setBy} isRequired maxLength={120} />
        <TextField
          label="Comment"
          value={comment}
          onInput={setComment}
          placeholder="why it is over"
        />
        <Problem text={problem} />
        <div class="dialog-foot">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" disabled={isBusy}>
            Resolve
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** The user that has ended an alert by hand, and the comment. */
export function ResolvedBy({ resolvedBy }: { resolvedBy: Alert['resolved_by'] }) {
  if (resolvedBy === null) return null;
  const { by, comment } = resolvedBy;
  return (
    <p class="notice">
      Resolved by <strong>{by}</strong>
      {comment !== null && <>: {comment}</>}
    </p>
  );
}

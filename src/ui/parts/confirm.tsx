import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { Dialog } from './basics.tsx';

interface Question {
  title: string;
  text: ComponentChildren;
  /** The word of the button that does it. */
  verb: string;
  isDangerous?: boolean;
  onYes: () => void;
}

const question = signal<Question | null>(null);

/** Asks before something that cannot be taken back. */
export function confirmed(asked: Question): void {
  question.value = asked;
}

export function Confirmation() {
  const asked = question.value;
  if (asked === null) return null;
  const close = () => (question.value = null);
  return (
    <Dialog title={asked.title} onClose={close}>
      <h2>{asked.title}</h2>
      <div>{asked.text}</div>
      <div class="dialog-foot">
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button
          type="button"
          class={asked.isDangerous === true ? 'danger' : 'primary'}
          onClick={() => {
            close();
            asked.onYes();
          }}
        >
          {asked.verb}
        </button>
      </div>
    </Dialog>
  );
}

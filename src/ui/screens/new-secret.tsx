import { effect, signal } from '@preact/signals';
import { api } from '../api/calls.ts';
import { session } from '../api/session.ts';
import type { RotatedView } from '../../client/types.ts';
import { Copy, Dialog } from '../parts/basics.tsx';
import { confirmed } from '../parts/confirm.tsx';
import { Clock } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';

/** The new secrets of endpoints that wait to be read, the oldest first. Each is answered once. */
const shownOnce = signal<readonly { name: string; secret: RotatedView }[]>([]);

effect(() => {
  if (session.value.state === 'signed_out') shownOnce.value = [];
});

/** Asks whether the secret of an endpoint is to be rotated, and shows the new one, whatever screen is shown by then. */
export function askToRotate(name: string, onDone: () => void): void {
  const rotate = async () => {
    const { token } = session.peek();
    const secret = await api.rotateEndpoint(name);
    const { state, token: present } = session.peek();
    // Another session has no claim to it.
    if (state === 'signed_out' || present !== token) return;
    shownOnce.value = [...shownOnce.peek(), { name, secret }];
  };
  confirmed({
    title: `Rotate the secret of ${name}?`,
    text: <p>The new secret is shown once. The old one signs too for another day.</p>,
    verb: 'Rotate',
    onYes: () => void act(null, rotate).then(onDone),
  });
}

export function NewSecret() {
  const [first] = shownOnce.value;
  if (first === undefined) return null;
  const { name, secret } = first;
  return (
    <Dialog
      key={secret.secret}
      title="The new secret"
      onClose={() => (shownOnce.value = shownOnce.peek().slice(1))}
    >
      <h2>The new secret of {name}</h2>
      <p>It is shown this once. Give it to the receiver.</p>
      <div class="command">
        <code>{secret.secret}</code>
        <Copy text={secret.secret} label="Copy" />
      </div>
      {secret.previous_expires_at !== null && (
        <p class="faint">
          The old one signs too until <Clock at={secret.previous_expires_at} />.
        </p>
      )}
      <form method="dialog" class="dialog-foot">
        <button class="primary">Done</button>
      </form>
    </Dialog>
  );
}

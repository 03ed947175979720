import { isTerminalStatus } from '../../core/run/snapshot.ts';
import { api } from '../api/calls.ts';
import { sendingButton } from '../api/session.ts';
import { messageOf } from '../api/request.ts';
import type { Watch } from '../api/types.ts';
import { confirmed } from '../parts/confirm.tsx';
import { say } from '../parts/toast.tsx';

/** Has the source stop a run that goes on. */
export function StopRun({ watch, reload }: { watch: Watch; reload: () => void }) {
  if (hasEnded(watch)) return null;
  const ask = () =>
    confirmed({
      title: 'Stop the run itself?',
      text: (
        <>
          <p>
            The source <strong>{watch.source}</strong> is asked once to stop the run{' '}
            <span class="mono id">{watch.run_id}</span>. This cannot be taken back.
          </p>
          <p class="faint">To let it go on and send no further events of it, use Unwatch.</p>
        </>
      ),
      verb: 'Stop run',
      isDangerous: true,
      onYes: () => void stop(watch).then(reload),
    });
  return (
    <button type="button" class="danger" {...sendingButton()} onClick={ask}>
      Stop run
    </button>
  );
}

function hasEnded({ state, run }: Watch): boolean {
  return state === 'gone' || (run !== null && isTerminalStatus(run.status));
}

async function stop(watch: Watch): Promise<void> {
  try {
    const { polled } = await api.stop(watch);
    const then = polled ? 'This page shows when it has stopped.' : 'It is not watched any more.';
    say(`Asked ${watch.source} to stop the run. ${then}`);
  } catch (error) {
    say(messageOf(error), { isError: true });
  }
}

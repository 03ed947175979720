import { signal } from '@preact/signals';
import { Dialog } from '../parts/basics.tsx';
import { PLACES } from './places.ts';

export const isHelpShown = signal(false);

const KEYS: readonly (readonly [string, string])[] = [
  ['/', 'filter the list'],
  ['j  k', 'next, previous row'],
  ['Enter', 'open the row'],
  ['x', 'select the row'],
  ['a', 'acknowledge'],
  ['.', 'pause or resume live updates'],
  ['Ctrl K', 'go to a run, a name or an action'],
  ['Esc', 'back'],
  ['?', 'these keys'],
];

export function Help() {
  const places = PLACES.map(({ key, name }) => [`g ${key}`, `go to ${name}`] as const);
  return (
    <Dialog title="Keys" onClose={() => (isHelpShown.value = false)}>
      <h2>Keys</h2>
      <div class="keys">
        {[KEYS, places].map((list, at) => (
          <dl key={at}>
            {list.map(([keys, what]) => (
              <div key={keys}>
                <dt>
                  {keys.split(/ +/).map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        ))}
      </div>
      <form method="dialog" class="dialog-foot">
        <button>Close</button>
      </form>
    </Dialog>
  );
}

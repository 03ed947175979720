import { signal } from '@preact/signals';
import { Dialog } from '../parts/basics.tsx';
import { hasKey } from './keys.ts';
import { PLACES } from './places.ts';
import { address } from './router.ts';

export const isHelpShown = signal(false);

/** The keys and what they do; those of a list, on a page that it led to, on its neighbours. */
const keysOf = (isList: boolean): readonly (readonly [string, string])[] => [
  ['/', 'filter the list'],
  ...(hasKey('j')
    ? [['j  k', isList ? 'next, previous row' : 'next, previous of the list'] as const]
    : []),
  ['Enter', 'open the row'],
  ['x', 'select the row'],
  ['a', 'acknowledge'],
  ['.', 'pause or resume live updates'],
  ['Ctrl K', 'go to a run, a name or an action'],
  ['Esc', 'back'],
  ['?', 'these keys'],
];

export function Help() {
  const isList = address.value.path.split('/').length <= 2;
  const places = PLACES.map(({ key, name }) => [`g ${key}`, `go to ${name}`] as const);
  return (
    <Dialog title="Keys" onClose={() => (isHelpShown.value = false)}>
      <h2>Keys</h2>
      <div class="keys">
        {[keysOf(isList), places].map((list, at) => (
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

import { signal } from '@preact/signals';
import { useMemo, useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import { Dialog } from '../parts/basics.tsx';
import { useLoaded } from '../parts/hooks.ts';
import { workflowNames } from '../parts/workflow-names.ts';
import { go, href, runPath } from './router.ts';
import { PLACES } from './places.ts';

export const isPaletteShown = signal(false);

interface Choice {
  key: string;
  name: string;
  kind: string;
  to: string;
}

const MOST = 12;

/** Goes to a screen, a workflow or a run by a few letters. */
export function Palette() {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const wanted = text.trim();
  const runs = useRuns(wanted);
  const choices = useMemo(
    () => [...runs, ...named(text.trim().toLowerCase())].slice(0, MOST),
    [text, runs],
  );
  const chosen = Math.min(at, choices.length - 1);
  const close = () => (isPaletteShown.value = false);
  const open = (choice: Choice | undefined) => {
    if (choice === undefined) return;
    close();
    go(choice.to);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setAt((chosen + step + choices.length) % Math.max(1, choices.length));
    } else if (event.key === 'Enter') {
      event.preventDefault();
      open(choices[chosen]);
    }
  };
  return (
    <Dialog title="Go to" onClose={close} className="palette">
      <input
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls="choices"
        aria-activedescendant={choices.length > 0 ? `choice-${chosen}` : undefined}
        aria-label="The id or URL of a run, a workflow or a screen"
        placeholder="The id or URL of a run, a workflow or a screen"
        value={text}
        autoFocus
        onInput={({ currentTarget }) => {
          setText(currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <ul id="choices" role="listbox" aria-label="Matches">
        {choices.map((choice, index) => (
          <li
            key={choice.key}
            id={`choice-${index}`}
            role="option"
            aria-selected={index === chosen}
            onClick={() => open(choice)}
          >
            <span class="cut" title={choice.name}>
              {choice.name}
            </span>
            <span class="faint cut">{choice.kind}</span>
          </li>
        ))}
      </ul>
      {choices.length === 0 && <p class="faint">Nothing is called so.</p>}
    </Dialog>
  );
}

function isBeginningOfScreen(text: string): boolean {
  return PLACES.some(({ name }) => name.toLowerCase().startsWith(text.toLowerCase()));
}

function named(wanted: string): Choice[] {
  const matches = ({ name }: { name: string }) => name.toLowerCase().includes(wanted);
  const screens = PLACES.filter(matches).map(({ path, name }) => ({
    key: path,
    name,
    kind: 'screen',
    to: href(path),
  }));
  const workflows = [...workflowNames.value]
    .map(([id, name]) => ({ id, name: name ?? id }))
    .filter(({ id, name }) => wanted !== '' && (matches({ name }) || id.startsWith(wanted)))
    .map(({ id, name }) => ({
      key: id,
      name,
      kind: 'workflow',
      to: href('/runs', { workflow: id }),
    }));
  return [...workflows, ...screens];
}

/** What can be a part of an id, long enough to mean one, or the URL of a run. */
const PART_OF_ID = /^[!-~]{4,4096}$/;

/** How long nothing must be typed before runs are looked up, ms. */
const QUIET_MS = 250;

/** Runs with an id or a last part that begins so, or with this URL. What begins the name of a screen means that. */
function useRuns(wanted: string): Choice[] {
  const isAsked = PART_OF_ID.test(wanted) && !isBeginningOfScreen(wanted);
  const { value } = useLoaded(`runs ${wanted}`, async (stop) => {
    if (!isAsked) return null;
    await new Promise((resolve) => window.setTimeout(resolve, QUIET_MS));
    return stop.aborted ? null : api.lookup({ q: wanted }, stop);
  });
  return (value?.data ?? []).map(({ id, source }) => ({
    key: `${source} ${id}`,
    name: id,
    kind: `run · ${source}`,
    to: href(runPath({ run_id: id, source })),
  }));
}

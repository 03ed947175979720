import { signal } from '@preact/signals';
import { useMemo, useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import { isPaused, togglePause } from '../api/live.ts';
import { may, session, signOut } from '../api/session.ts';
import { Dialog } from '../parts/basics.tsx';
import { useLoaded } from '../parts/hooks.ts';
import { PAGE_SIZE } from '../parts/list.ts';
import { nextTheme, setSetting, settings } from '../parts/settings.ts';
import { learnNames, workflowNames } from '../parts/workflow-names.ts';
import { alertName, namedOf } from '../screens/alerts.tsx';
import { isSilenceShown } from '../screens/silences.tsx';
import { isHelpShown } from './help.tsx';
import { alertPath, batchPath, go, href, runPath } from './router.ts';
import { PLACES } from './places.ts';

export const isPaletteShown = signal(false);

interface Choice {
  key: string;
  name: string;
  kind: string;
  /** An address, or what to do. */
  to: string | (() => void);
}

const MOST = 12;

/** Goes to a screen, a workflow, a run, an endpoint, an alert or a batch by a few letters, or does something. */
export function Palette() {
  const [text, setText] = useState('');
  const [marked, setMarked] = useState<string | null>(null);
  const wanted = text.trim();
  const runs = useRuns(wanted);
  const places = usePlaces();
  const choices = useMemo(() => {
    const isNamed = namedBy(wanted);
    const found = [...workflowsBy(wanted), ...SCREENS, ...places, ...actions()].filter(isNamed);
    return [...runs, ...found].slice(0, MOST);
  }, [wanted, runs, places]);
  // By its key: runs that are found come to stand above the choice that a user has gone to.
  const chosen = Math.max(
    0,
    choices.findIndex(({ key }) => key === marked),
  );
  const close = () => (isPaletteShown.value = false);
  const open = (choice: Choice | undefined) => {
    if (choice === undefined) return;
    close();
    if (typeof choice.to === 'string') go(choice.to);
    else choice.to();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setMarked(choices.at((chosen + step) % choices.length)?.key ?? null);
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
        aria-label="The id or URL of a run, a name, or an action"
        placeholder="The id or URL of a run, a name, or an action"
        value={text}
        autoFocus
        onInput={({ currentTarget }) => {
          setText(currentTarget.value);
          setMarked(null);
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

/** Whether a choice has each word that is wanted in its name or kind. */
function namedBy(wanted: string): (choice: Choice) => boolean {
  const words = wanted.toLowerCase().split(/\s+/);
  return ({ key, name, kind }) => {
    const hay = `${name} ${kind}`.toLowerCase();
    return key.startsWith(wanted) || words.every((word) => hay.includes(word));
  };
}

const SCREENS: readonly Choice[] = PLACES.map(({ path, name }) => ({
  key: path,
  name,
  kind: 'screen',
  to: href(path),
}));

/** The workflows that were seen; there may be many, so that none is shown before something is typed. */
function workflowsBy(wanted: string): Choice[] {
  if (wanted === '') return [];
  return [...workflowNames.value].map(([id, name]) => ({
    key: id,
    name: name ?? id,
    kind: 'workflow',
    to: href('/runs', { workflow: id }),
  }));
}

/** The endpoints, the alerts that are open, and the newest batches: a name may stand for several. */
function usePlaces(): readonly Choice[] {
  const { value } = useLoaded('places', async (stop) => {
    const [endpoints, alerts, batches] = await Promise.all([
      api.endpoints(stop),
      api.alerts({ state: 'firing,acknowledged,pending', limit: PAGE_SIZE }, stop),
      api.batches({ limit: PAGE_SIZE }, stop),
    ]);
    learnNames(alerts.data.flatMap(({ runs }) => runs.map(namedOf)));
    return [
      ...endpoints.data.map(({ name }) => ({
        key: `endpoint ${name}`,
        name,
        kind: 'endpoint',
        to: href('/deliveries', { endpoint: name }),
      })),
      ...alerts.data.map((alert) => ({
        key: alert.id,
        name: alertName(alert),
        kind: `alert · ${alert.state}`,
        to: href(alertPath(alert.id)),
      })),
      ...batches.data.map(({ id, name, state }) => ({
        key: id,
        name,
        kind: `batch · ${state}`,
        to: href(batchPath(id)),
      })),
    ];
  });
  return value ?? NOTHING;
}

const NOTHING: readonly Choice[] = [];

/** What can be done from anywhere. */
function actions(): Choice[] {
  const { isUtc } = settings.value;
  const all: [string, () => void][] = [
    [isPaused.value ? 'Resume live updates' : 'Pause live updates', togglePause],
    ['Switch between light and dark', nextTheme],
    [isUtc ? 'Show local times' : 'Show times as UTC', () => setSetting({ isUtc: !isUtc })],
    ['Show the keys', () => (isHelpShown.value = true)],
  ];
  if (may.write.value) all.unshift(['Silence alerts …', () => (isSilenceShown.value = true)]);
  if (session.value.state === 'signed_in') all.push(['Sign out', () => void signOut()]);
  return all.map(([name, to]) => ({ key: name, name, kind: 'action', to }));
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

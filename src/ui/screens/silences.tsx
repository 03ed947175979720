import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { api } from '../api/calls.ts';
import type { SilencePreviewView } from '../../client/types.ts';
import { may } from '../api/session.ts';
import type { Matchers, Silence } from '../api/types.ts';
import { ActButton } from '../parts/act-button.tsx';
import { Dialog, Trouble } from '../parts/basics.tsx';
import { Brief } from '../parts/brief.tsx';
import { knownName, LENGTHS, Problem, SelectField, TextField, useSubmit } from '../parts/form.tsx';
import { countText, plural } from '../parts/format.ts';
import { setSetting } from '../parts/settings.ts';
import { Status } from '../parts/status.tsx';
import { Ago } from '../parts/time.tsx';
import { act } from '../parts/toast.tsx';
import { isNarrow, refreshed, useLoaded } from '../parts/hooks.ts';
import { workflowNames, workflowText } from '../parts/workflow-names.ts';

/** Whether a silence is being made that is prefilled with nothing. */
export const isSilenceShown = signal(false);

/** Silences that are shown before a user asks for all. */
const FIRST = 8;

/** What is silenced now, and was. */
export function Silences() {
  const { value, error, reload } = useLoaded(
    `silences ${refreshed.value}`,
    (stop) => api.silences(stop),
    {
      everyMs: 10_000,
    },
  );
  const silences = value?.data ?? [];
  const [isAll, setAll] = useState(false);
  const shown = isAll ? silences : silences.slice(0, FIRST);
  return (
    <>
      <Trouble error={error} what="silences" retry={reload} />
      {value !== null && silences.length === 0 && (
        <p class="faint">
          None. A silence holds notifications back for a time; alerts are still recorded.
        </p>
      )}
      <ul class={isNarrow.value ? 'briefs' : 'silences'}>
        {shown.map((silence) => (
          <SilenceRow key={silence.id} silence={silence} reload={reload} />
        ))}
      </ul>
      {silences.length > shown.length && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show all {countText(silences.length)}
        </button>
      )}
    </>
  );
}

function SilenceRow({ silence, reload }: { silence: Silence; reload: () => void }) {
  const { matchers, state, until, by, comment } = silence;
  const isOver = state === 'expired';
  const pairs = pairsOf(matchers).map(([name, text]) => `${name}: ${text}`);
  const status = <Status state={isOver ? 'skipped' : 'paused'} text={state} />;
  const why = `${comment} (${by})`;
  const end = (
    <>
      {isOver ? 'ended ' : 'ends '}
      <Ago at={until} />
    </>
  );
  return isNarrow.value ? (
    <li class={isOver ? 'past' : ''}>
      <Brief name={pairs.join(', ')} title={pairs.join('\n')} aside={end}>
        {status}
        <span class="cut" title={why}>
          {why}
        </span>
        <span class="spring" />
        <EndButton silence={silence} reload={reload} />
      </Brief>
    </li>
  ) : (
    <li class={isOver ? 'past' : ''}>
      {status}
      <span class="tags">
        {pairs.map((pair) => (
          <span key={pair} class="tag" title={pair}>
            {pair}
          </span>
        ))}
      </span>
      <span class="faint silence-why" title={why}>
        {why}
      </span>
      <span class="num">{end}</span>
      <EndButton silence={silence} reload={reload} />
    </li>
  );
}

function EndButton({ silence: { id, state }, reload }: { silence: Silence; reload: () => void }) {
  if (state === 'expired' || !may.write.value) return null;
  return (
    <ActButton
      class="small"
      onAct={() => act('The silence has ended.', () => api.endSilence(id)).then(reload)}
    >
      End
    </ActButton>
  );
}

function pairsOf({ metadata = {}, ...others }: Matchers): [string, string][] {
  const pairs = [...Object.entries(others), ...Object.entries(metadata)];
  return pairs.map(([name, values]) => [
    name === 'workflow_id' ? 'workflow' : name,
    values.map((text) => (name === 'workflow_id' ? workflowText(text) : text)).join(' or '),
  ]);
}

/** Asks what is to be silent, and shows what that would keep back. */
export function SilenceDialog({
  matchers: first,
  onClose,
}: {
  matchers: Matchers;
  onClose: () => void;
}) {
  const [matchers, setMatchers] = useState<Matchers>(first);
  const [by, setBy] = useState(knownName);
  const [comment, setComment] = useState('');
  const [length, setLength] = useState('1h');
  const set = (name: 'rule' | 'workflow_id' | 'event') => (text: string) => {
    const { [name]: _before, ...others } = matchers;
    setMatchers(text === '' ? others : { ...others, [name]: [text] });
  };
  const [rule = '', workflow = '', event = ''] = [
    matchers.rule?.[0],
    matchers.workflow_id?.[0],
    matchers.event?.[0],
  ];
  const workflows = [...workflowNames.value.keys()].map((id) => [id, workflowText(id)] as const);
  const isEmpty = pairsOf(matchers).length === 0;
  const silence = async () => {
    setSetting({ name: by });
    await api.silence({ matchers, until: length, by: by.trim(), comment: comment.trim() });
    refreshed.value += 1;
  };
  const { isBusy, problem, onSubmit } = useSubmit(silence, 'Silenced.', onClose);
  return (
    <Dialog title="Silence" onClose={onClose}>
      <form onSubmit={onSubmit}>
        <h2>Silence</h2>
        <p class="faint">Matching notifications are held back; alerts are still recorded.</p>
        <RuleField value={rule} onInput={set('rule')} />
        <SelectField
          label="Workflow"
          value={workflow}
          onInput={set('workflow_id')}
          options={[['', 'Any'], ...workflows]}
        />
        <TextField label="Event" value={event} onInput={set('event')} placeholder="run.failed" />
        <Preview matchers={matchers} />
        <SelectField label="For" value={length} onInput={setLength} options={LENGTHS} />
        <TextField label="Your name" value={by} onInput={setBy} isRequired maxLength={120} />
        <TextField label="Why" value={comment} onInput={setComment} isRequired />
        <Problem text={problem} />
        <div class="dialog-foot">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button class="primary" disabled={isEmpty || isBusy}>
            Silence
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** A choice of the rules in force; a field for one where the token may not list them. */
function RuleField({ value: rule, onInput }: { value: string; onInput: (rule: string) => void }) {
  const { value, error } = useLoaded('rules', (stop) => api.rules(stop));
  if (error !== null) return <TextField label="Rule" value={rule} onInput={onInput} />;
  const names = new Set((value?.data ?? []).map(({ name }) => name));
  if (rule !== '') names.add(rule);
  const options = [...names].map((name) => [name, name] as const);
  return (
    <SelectField label="Rule" value={rule} onInput={onInput} options={[['', 'Any'], ...options]} />
  );
}

/** What the silence would keep back now, and would have in the last 24 h. */
function Preview({ matchers }: { matchers: Matchers }) {
  const isEmpty = pairsOf(matchers).length === 0;
  const { value, error } = useLoaded(JSON.stringify(matchers), async () =>
    isEmpty ? null : api.previewSilence(matchers),
  );
  if (isEmpty) return <p class="notice">Say at least one thing that it matches.</p>;
  if (error !== null) return <Trouble error={error} what="what it would match" />;
  if (value === null) return <p class="notice">…</p>;
  return (
    <p class="notice" role="status">
      {previewText(value)}
    </p>
  );
}

function previewText({ now: present, last_24h: day }: SilencePreviewView): string {
  return `Matches ${plural(present.alerts.length, 'alert')} now, and ${plural(day.events, 'event')} of the last 24 h.`;
}

import { useState } from 'preact/hooks';
import { address, setQuery } from '../app/router.ts';
import { Dialog } from './basics.tsx';
import { absoluteText } from './time.tsx';

const RANGES = [
  ['', 'Any time'],
  ['15m', 'Last 15 min'],
  ['1h', 'Last hour'],
  ['24h', 'Last 24 h'],
  ['7d', 'Last 7 d'],
] as const;

const CUSTOM = 'custom';

/** A range that was chosen so; the other option changes it. */
const CHOSEN = 'chosen';

/** The range of time of a list, as the address holds it: a duration ago, or two moments. */
export function Range() {
  const [isOpen, setOpen] = useState(false);
  const { query } = address.value;
  const [since, until] = [query.get('since') ?? '', query.get('until') ?? ''];
  const isUsual = until === '' && RANGES.some(([value]) => value === since);
  return (
    <>
      <select
        aria-label="Time range"
        value={isUsual ? since : CHOSEN}
        onChange={({ currentTarget: { value } }) => {
          if (value === CUSTOM) setOpen(true);
          else setQuery({ since: value, until: '' }, { replace: false });
        }}
      >
        {RANGES.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
        {!isUsual && <option value={CHOSEN}>{customText(since, until)}</option>}
        <option value={CUSTOM}>From … to …</option>
      </select>
      {isOpen && <Custom since={since} until={until} onClose={() => setOpen(false)} />}
    </>
  );
}

function customText(since: string, until: string): string {
  const text = (at: string) => (/^\d{4}-/.test(at) ? absoluteText(at).slice(0, 16) : `${at} ago`);
  if (until === '') return `Since ${text(since)}`;
  return since === '' ? `Until ${text(until)}` : `${text(since)} – ${text(until)}`;
}

function Custom({ since, until, onClose }: { since: string; until: string; onClose: () => void }) {
  const [from, setFrom] = useState(localOf(since));
  const [to, setTo] = useState(localOf(until));
  const apply = () => {
    setQuery({ since: isoOf(from), until: isoOf(to) }, { replace: false });
    onClose();
  };
  return (
    <Dialog title="Time range" onClose={onClose}>
      <h2>Time range</h2>
      <label>
        From
        <input
          type="datetime-local"
          value={from}
          onInput={({ currentTarget }) => setFrom(currentTarget.value)}
        />
      </label>
      <label>
        To
        <input
          type="datetime-local"
          value={to}
          onInput={({ currentTarget }) => setTo(currentTarget.value)}
        />
      </label>
      <div class="dialog-foot">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class="primary" onClick={apply}>
          Show
        </button>
      </div>
    </Dialog>
  );
}

/** As the field takes it: in the browser's zone, to the minute. */
function localOf(at: string): string {
  if (!/^\d{4}-/.test(at)) return '';
  const ms = Date.parse(at);
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function isoOf(text: string): string {
  return text === '' ? '' : new Date(text).toISOString();
}

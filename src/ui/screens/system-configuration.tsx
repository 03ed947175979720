import { request } from '../api/request.ts';
import { may } from '../api/session.ts';
import { Section, Trouble } from '../parts/basics.tsx';
import { useLoaded } from '../parts/use.ts';

/** The configuration in force, without secrets. */
export function Configuration() {
  if (!may.admin.value) return null;
  return (
    <Section title="Configuration">
      <Shown />
    </Section>
  );
}

function Shown() {
  const { value, error } = useLoaded('configuration', (signal) =>
    request<Record<string, unknown>>('GET', '/configuration', { signal }),
  );
  return (
    <>
      <Trouble error={error} what="the configuration" />
      {value !== null && (
        <details class="fold">
          <summary>In force, without secrets</summary>
          <pre class="snippet" tabIndex={0}>
            {lines(value, 0).join('\n')}
          </pre>
        </details>
      )}
    </>
  );
}

/** As the file would say it. */
function lines(value: Record<string, unknown>, depth: number): string[] {
  const indent = '  '.repeat(depth);
  return Object.entries(value).flatMap(([name, inner]) => {
    const head = `${indent}${name}:`;
    if (isPlain(inner) && Object.keys(inner).length > 0)
      return [head].concat(lines(inner, depth + 1));
    if (Array.isArray(inner) && inner.some(isPlain)) {
      return [head].concat(inner.map((one) => `${indent}  - ${JSON.stringify(one)}`));
    }
    return [`${head} ${scalar(inner)}`];
  });
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function scalar(value: unknown): string {
  if (typeof value === 'string')
    return /^[\w./@-][^#]*$/.test(value) ? value : JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(scalar).join(', ')}]`;
  return JSON.stringify(value);
}

import { adviseOn } from './advice.ts';
import { checkServing, crossCheck } from './check.ts';
import type { Absence } from './document.ts';
import { labelOf, type Draft } from './draft.ts';
import type { Reference } from './expand.ts';
import { expectation, explainIssues } from './issues.ts';
import type { ObservationDraft } from './problem.ts';
import { configSchema, type Config } from './schema.ts';
import { childValue, presentationOf, schemaAt, valueAt } from './walk.ts';

/**
 * What the configuration is for. `serve`: the daemon, which needs a source with an API key, and a
 * token on a public host. `command`: any other verb; sources without a key are dropped.
 */
export type ConfigPurpose = 'serve' | 'command';

interface AssembleOptions {
  purpose: ConfigPurpose;
  /** The data directory where nothing names one. */
  dataDirectory: string;
  /** The variables behind the values of the file, by `pathKey`. */
  references: ReadonlyMap<string, Reference>;
  /** The settings of the file that are absent for want of a variable. */
  absent: readonly Absence[];
}

interface Assembled {
  /** Null when the settings are invalid. */
  config: Config | null;
  findings: ObservationDraft[];
  /** What is valid, but cannot work. */
  advice: ObservationDraft[];
}

/** Makes a configuration from the draft, or reports all its problems. */
export function assemble(draft: Draft, options: AssembleOptions): Assembled {
  const { purpose, dataDirectory } = options;
  const keyless = purpose === 'command' ? keylessSources(draft.root) : new Map<string, unknown>();
  const value = complete(draft.root, { dataDirectory, keyless });
  const parsed = configSchema.safeParse(value, { error: expectation });
  if (!parsed.success) {
    const references = referencesInForce(draft, options.references);
    const subject = { schema: configSchema, value, references };
    const issues = explainIssues(parsed.error.issues, subject);
    return { config: null, findings: [...issues, ...unsetSecrets(draft, options)], advice: [] };
  }
  const sources = Object.entries(parsed.data.sources).filter(([name]) => !keyless.has(name));
  const config = { ...parsed.data, sources: Object.fromEntries(sources) };
  const serving = purpose === 'serve' ? checkServing(config) : [];
  const findings = [...unsetSecrets(draft, options), ...crossCheck(config), ...serving];
  return { config, findings, advice: adviseOn(config) };
}

/** A secret from an unset variable is an error: the author meant it to exist. */
function unsetSecrets(draft: Draft, { purpose, absent }: AssembleOptions): ObservationDraft[] {
  const isMissed = ({ path, reference }: Absence): boolean => {
    if (reference.hasDefault || reference.failed || labelOf(draft, path) !== null) return false;
    // Commands do without sources that have no key.
    if (purpose === 'command' && path[0] === 'sources') return false;
    const schema = schemaAt(configSchema, draft.root, path);
    return schema !== null && presentationOf(schema) === 'secret';
  };
  return absent.filter(isMissed).map(({ path, reference: { variable } }) => ({
    path,
    message: `${variable} is not set; give it a value, or write \${${variable}:-} where it may be absent`,
  }));
}

function isKeyless(source: unknown): source is object {
  if (typeof source !== 'object' || source === null || Array.isArray(source)) return false;
  return childValue(source, 'api_key') === undefined;
}

/** Complete sources without a key, with a placeholder for it, so that the rest is checked. */
function keylessSources(root: unknown): Map<string, unknown> {
  const sources = Object.entries(valueAt(root, ['sources']) ?? {});
  return new Map(
    sources.flatMap(([name, source]) =>
      isKeyless(source) ? [[name, { ...source, api_key: 'absent' }]] : [],
    ),
  );
}

function complete(
  root: unknown,
  { dataDirectory, keyless }: { dataDirectory: string; keyless: Map<string, unknown> },
): unknown {
  if (typeof root !== 'object' || root === null || Array.isArray(root)) return root;
  const sources = childValue(root, 'sources');
  const completed = { data_dir: dataDirectory, ...root };
  if (keyless.size === 0) return completed;
  return { ...completed, sources: { ...Object(sources), ...Object.fromEntries(keyless) } };
}

/** A variable of the file counts only where no variable or flag overrides its setting. */
function referencesInForce(
  draft: Draft,
  references: ReadonlyMap<string, Reference>,
): Map<string, Reference> {
  const entries = [...references].filter(([key]) => labelOf(draft, key.split('\0')) === null);
  return new Map(entries);
}

// Prepares a release in this checkout: `npm run release -- 0.2.0`, or patch, minor or major. It pushes and
// publishes nothing.
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { RENAMED_KEYS } from '../src/config/renamed-keys.ts';
import { readChanges, versionsIn, withRelease } from './changelog.ts';
import { compareVersions, nextVersion, parseVersion, type Step, STEPS } from './release/version.ts';
import { surfaceChanges, surfaceTexts, type SurfaceChanges } from './surface.ts';

/** What a release writes, by paths from the root. */
interface Plan {
  version: string;
  texts: Record<string, string>;
  /** The files of changes/, which the changelog holds then. */
  gathered: string[];
}

/**
 * What a release would write.
 * @param wanted a version, or the step to it
 * @throws Error with a line for each reason against it
 */
async function planRelease(root: string, wanted: string, date: string): Promise<Plan> {
  const read = (path: string) => readFile(join(root, path), 'utf8');
  const changelog = await read('CHANGELOG.md');
  const { version: present } = JSON.parse(await read('package.json')) as { version: string };
  const released = versionsIn(changelog);
  const { version, step } = wantedVersion(wanted, { present, released });
  const changes = await readChanges(root);
  const reasons = [
    ...(changes.length === 0 ? ['changes/ has no file: there is nothing to release'] : []),
    ...reasonsAgainst(step, { ...(await surfaceChanges(root)), version }),
    ...RENAMED_KEYS.filter(({ until }) => compareVersions(until, version) <= 0).map(
      ({ map, old, until }) =>
        `src/config/renamed-keys.ts: ${map}.${old} goes in ${until}: take it out, or give it a later version`,
    ),
  ];
  if (reasons.length > 0) throw new Error(reasons.join('\n'));
  return {
    version,
    texts: {
      'package.json': withVersion(await read('package.json'), /^ {2}"version": "(.+)"/m, version),
      'package-lock.json': lockOf(await read('package-lock.json'), version),
      [CHART]: chartOf(await read(CHART), version),
      'CHANGELOG.md': withRelease(changelog, { version, date, changes }),
      ...(await surfaceTexts(root)),
    },
    gathered: changes.map(({ path }) => path),
  };
}

const CHART = 'deploy/helm/runwatch/Chart.yaml';

interface Versions {
  /** The one of package.json. */
  present: string;
  /** Those of the changelog, the newest first. */
  released: readonly string[];
}

/** @returns the step to it from the last release; null for the first release */
function wantedVersion(
  wanted: string,
  { present, released }: Versions,
): { version: string; step: Step | null } {
  const [last = present] = released;
  const next = STEPS.map((step) => ({ step, version: nextVersion(last, step) }));
  const found = next.find(({ step, version }) => [step, version].includes(wanted));
  const isFirst = released.length === 0;
  if (isFirst && wanted === present) return { version: present, step: null };
  if (found !== undefined) return { ...found, step: isFirst ? null : found.step };
  const expected = [...(isFirst ? [present] : []), ...next.map(({ version }) => version)];
  const kind = parseVersion(wanted) === null ? `a version or ${STEPS.join(', ')}` : 'a step';
  throw new Error(
    `expected ${kind}: after ${isFirst ? 'no release' : last} that is ${expected.join(', ')}; got ${JSON.stringify(wanted)}`,
  );
}

/** Why a step is too small for what changed, and what no file of changes/ names. */
function reasonsAgainst(
  step: Step | null,
  { breaks, unannounced, additions, version }: SurfaceChanges & { version: string },
): string[] {
  const lines = unannounced.map(
    ({ line, detail }) => `no file of changes/ has the line "${line}" (${detail})`,
  );
  const isStable = compareVersions(version, '1.0.0') > 0;
  if (step === 'patch' && breaks.length + additions.length > 0) {
    const names = [...breaks.map(({ line }) => line), ...additions];
    lines.push(
      `${version} is a patch, and users could rely on ${names.length} changes, such as ${names[0]}: take minor`,
    );
  } else if (step === 'minor' && isStable && breaks.length > 0) {
    lines.push(
      `${version} is a minor version, and takes away ${breaks.length}, such as ${breaks[0]?.line}: take major`,
    );
  }
  return lines;
}

function withVersion(text: string, place: RegExp, version: string): string {
  if (!place.test(text)) throw new Error(`expected ${place} in a file that holds the version`);
  return text.replace(place, (line, old: string) => line.replace(old, version));
}

function lockOf(text: string, version: string): string {
  const lock = JSON.parse(text) as { packages: { '': object } };
  const own = { ...lock.packages[''], version };
  const packages = { ...lock.packages, '': own };
  return `${JSON.stringify({ ...lock, version, packages }, null, 2)}\n`;
}

function chartOf(text: string, version: string): string {
  return withVersion(
    withVersion(text, /^version: (.+)$/m, version),
    /^appVersion: (.+)$/m,
    version,
  );
}

/**
 * Writes a release. One that dies in the middle leaves files that git knows, and the next one refuses those.
 * @returns what is left to do, for people
 */
export async function release(
  root: string,
  [wanted = '']: string[],
  date: string,
): Promise<string> {
  const { stdout } = await promisify(execFile)('git', ['status', '--porcelain'], { cwd: root });
  if (stdout !== '')
    throw new Error(
      `the checkout has changes: commit them first; \`git restore .\` takes back a release that was not finished\n${stdout.trimEnd()}`,
    );
  const { version, texts, gathered } = await planRelease(root, wanted, date);
  for (const [path, text] of Object.entries(texts)) await writeFile(join(root, path), text);
  for (const path of gathered) await rm(join(root, path));
  return `${version} is written, and CHANGELOG.md has the files of changes/: ${gathered.length}. Look at \`git diff\`, then:
  npm test
  git add --all && git commit --message "release: ${version}"
  git tag --annotate v${version} --message "runwatch ${version}"
  npm pack && npm run sbom
Nothing is pushed or published. \`git restore .\` takes it back.
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const today = new Date().toISOString().slice(0, 10);
    process.stdout.write(await release(process.cwd(), process.argv.slice(2), today));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

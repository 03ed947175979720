import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startSimulator } from '../../src/simulator/server.ts';
import type { CaseResult, Part } from './part.ts';
import { FOLDER } from './places.ts';
import { startDaemon, TOKEN } from './stage.ts';
import { pythonWith, run, type Tools } from './tools.ts';

const SEED = '20';

const CONFIG = fileURLToPath(new URL('schemathesis.toml', import.meta.url));

const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
];

interface Fuzzing {
  name: string;
  seconds: number;
  headers: string[];
}

/** Requests made up from the document: no 5xx but by {@link CONFIG}, no answer against its schema, none undocumented. */
export function schemathesisParts({ python }: Tools): Part[] {
  const fuzzings: Fuzzing[] = [
    { name: 'with a token', seconds: 45, headers: [`Authorization: Bearer ${TOKEN}`] },
    { name: 'without a token', seconds: 15, headers: [] },
  ];
  return [
    {
      title: `schemathesis, seed ${SEED}`,
      missing: python === null ? 'there is no python3 (3.11 or later)' : null,
      async play() {
        const bin = await pythonWith(python ?? '', 'tools');
        const results: CaseResult[] = [];
        for (const fuzzing of fuzzings) results.push(...(await fuzz(bin, fuzzing)));
        return results;
      },
    },
  ];
}

async function fuzz(bin: string, { name, seconds, headers }: Fuzzing): Promise<CaseResult[]> {
  const noxus = await startSimulator();
  // Nothing listens there: what is fuzzed is the API.
  const daemon = await startDaemon(noxus.url, noxus.apiKey, 'http://127.0.0.1:9/ops');
  const report = join(FOLDER, `schemathesis-${seconds}.xml`);
  try {
    const output = await run(
      join(bin, 'schemathesis'),
      [
        `--config-file=${CONFIG}`,
        'run',
        `${daemon.url}/openapi.json`,
        `--seed=${SEED}`,
        `--max-time=${seconds}`,
        `--checks=${CHECKS.join(',')}`,
        '--warnings=off',
        '--no-color',
        '--no-shrink',
        // A stream has no end that could be waited for.
        '--exclude-path=/v1/events/stream',
        '--request-timeout=30',
        '--report=junit',
        `--report-junit-path=${report}`,
        ...headers.flatMap((header) => ['-H', header]),
      ],
      { cwd: FOLDER, limitMs: (seconds + 60) * 1_000 },
    );
    const results = readReport(await readFile(report, 'utf8').catch(() => ''), name);
    const isToldWhy = results.some(({ problem }) => problem !== null);
    const problem =
      output.code === 0 || isToldWhy ? null : `exit ${output.code}\n${output.stdout.slice(-4_000)}`;
    return [...results, { title: `${name}: it ends well`, problem }];
  } finally {
    await daemon.stop();
    await noxus.close();
  }
}

/** A case for each operation, out of a JUnit report. */
function readReport(xml: string, name: string): CaseResult[] {
  const cases = xml.matchAll(/<testcase name="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g);
  return [...cases].map(([, title = '', inside = '']) => {
    const isWrong = /<(failure|error)\b/.test(inside);
    return { title: `${name}: ${title}`, problem: isWrong ? inside.slice(0, 4_000) : null };
  });
}

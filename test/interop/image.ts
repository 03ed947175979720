import { cp, mkdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mustRun } from './tools.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What the Dockerfile makes, but for the files of its base image. */
export interface Image {
  /** Where its files are. */
  root: string;
  workdir: string;
  /** The program with its arguments, as ENTRYPOINT has it. */
  entrypoint: string[];
  env: string[];
  user: string;
}

interface Instruction {
  name: string;
  text: string;
}

/**
 * Plays the Dockerfile step by step without a container: with the Node of this machine, and without the
 * packages of the base image.
 * @param folder empty; the stages are put there
 */
export async function buildImage(folder: string): Promise<Image> {
  const allowed = await contextFiles();
  const stages = new Map<string, string>();
  let image: Image = { root: '', workdir: '/', entrypoint: [], env: [], user: '' };
  for (const { name, text } of await instructions()) {
    switch (name) {
      case 'FROM': {
        const [, stage = 'last'] = text.split(' AS ');
        const root = join(folder, stage);
        stages.set(stage, root);
        image = { root, workdir: '/', entrypoint: [], env: [], user: '' };
        break;
      }
      case 'WORKDIR':
        image.workdir = text;
        await mkdir(join(image.root, text), { recursive: true });
        break;
      case 'COPY':
        await copy(text, { image, stages, allowed });
        break;
      case 'RUN':
        if (text.startsWith('apk ')) break;
        await mustRun('sh', ['-c', text], { cwd: join(image.root, image.workdir) });
        break;
      case 'ENV':
        image.env = text.split(/\s+/);
        break;
      case 'USER':
        image.user = text;
        break;
      case 'ENTRYPOINT':
        image.entrypoint = JSON.parse(text) as string[];
        break;
      default:
    }
  }
  return image;
}

async function instructions(): Promise<Instruction[]> {
  const text = await readFile(join(ROOT, 'Dockerfile'), 'utf8');
  return text
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = ''] = line.split(' ');
      return { name, text: line.slice(name.length).trim() };
    });
}

/** What .dockerignore lets into the build. */
async function contextFiles(): Promise<Set<string>> {
  const lines = (await readFile(join(ROOT, '.dockerignore'), 'utf8')).split('\n');
  return new Set(lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1)));
}

interface CopyContext {
  image: Image;
  stages: ReadonlyMap<string, string>;
  allowed: ReadonlySet<string>;
}

async function copy(text: string, { image, stages, allowed }: CopyContext): Promise<void> {
  const [, stage, paths = text] = /^--from=(\S+) (.+)$/.exec(text) ?? [];
  const sources = paths.split(' ');
  const target = join(image.root, image.workdir, sources.pop() ?? '');
  for (const source of sources) {
    const isThere = stage !== undefined || allowed.has(source);
    if (!isThere) throw new Error(`.dockerignore leaves out ${source}, which is copied`);
    const from = join(stage === undefined ? ROOT : (stages.get(stage) ?? ''), source);
    const isFolder = (await stat(from)).isDirectory();
    const to = isFolder ? target : join(target, basename(source));
    await cp(from, to, { recursive: true, verbatimSymlinks: true });
  }
}

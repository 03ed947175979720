import { Argument, type Command, type Option } from 'commander';
import type { DaemonClient } from '../../client/client.ts';
import { ALERT_STATES } from '../../core/alert/alert.ts';
import { EVENT_TYPES, LOGGED_FAMILIES, LOGGED_TYPES } from '../../core/event/event.ts';
import { KNOWN_STATUSES } from '../../core/run/snapshot.ts';
import { WATCH_STATES } from '../../core/watch/watch.ts';
import { EXIT } from '../exit.ts';
import { plain } from '../render/text.ts';
import type { CommandLine } from '../command-line.ts';
import { DELIVERY_STATE_WORDS } from '../options.ts';

const COMPLETION_HELP = `
Verbs, flags and their values are part of the script; names of endpoints and sources and ids of active
runs are asked from the daemon.

Examples:
  source <(runwatch completion bash)                 in ~/.bashrc
  source <(runwatch completion zsh)                  in ~/.zshrc, after compinit
  runwatch completion fish > ~/.config/fish/completions/runwatch.fish`;

export function addCompletionVerb(cli: CommandLine): void {
  cli.program
    .command('completion')
    .description('print a script for completion in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText('after', COMPLETION_HELP)
    .action((shell: Shell) =>
      cli.run(async () => {
        cli.io.stdout.write(completionScript(shell, cli.program));
        return EXIT.ok;
      }),
    );
}

/** Most runs that a shell is given to complete. */
const MOST_RUNS = 200;

const NAMES: Record<(typeof NAME_KINDS)[number], (client: DaemonClient) => Promise<string[]>> = {
  endpoints: async (client) => (await client.listEndpoints()).data.map(({ name }) => name),
  sources: async (client) => (await client.listSources()).data.map(({ name }) => name),
  runs: async (client) =>
    (await client.listWatches({ state: 'active', limit: MOST_RUNS })).data.map(
      ({ run_id: runId }) => runId,
    ),
};

/**
 * Adds the hidden verb by which completion scripts ask for names, one on a line. A shell waits for it
 * at each press of a key, so that it neither waits for a daemon that is starting nor complains.
 */
export function addNamesVerb(cli: CommandLine): void {
  cli.program
    .command('complete', { hidden: true })
    .addArgument(new Argument('<kind>').choices(NAME_KINDS))
    .action((kind: (typeof NAME_KINDS)[number]) =>
      cli.run(async () => {
        const client = await cli.connectQuietly({}, { startupMs: 0 });
        const names = await NAMES[kind](client).catch(() => []);
        cli.io.stdout.write(names.map((name) => `${plain(name)}\n`).join(''));
        return EXIT.ok;
      }),
    );
}

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** What the daemon can be asked for. */
const NAME_KINDS = ['endpoints', 'sources', 'runs'] as const;
type NameKind = (typeof NAME_KINDS)[number];

/** What a word of the command line may be. */
type Words =
  | { kind: 'choices'; words: readonly string[] }
  | { kind: 'names'; of: NameKind }
  | { kind: 'file' }
  | { kind: 'free' };

interface Flag {
  names: string[];
  description: string;
  /** Null where the flag takes no value. */
  value: Words | null;
}

/** A verb, or one of its own verbs; the program itself has the path ''. */
interface Verb {
  path: string;
  verbs: { name: string; description: string }[];
  flags: Flag[];
  /** What its arguments may be. */
  args: Words;
}

/** A script that completes the verbs and flags of the program, for one shell. */
function completionScript(shell: Shell, program: Command): string {
  const verbs = verbsOf(program, '');
  switch (shell) {
    case 'bash':
      return bashScript(verbs);
    case 'zsh':
      return zshScript(verbs);
    case 'fish':
      return fishScript(verbs);
  }
}

function verbsOf(command: Command, path: string): Verb[] {
  const children = command.createHelp().visibleCommands(command);
  const verb: Verb = {
    path,
    verbs: children.map((one) => ({ name: one.name(), description: one.description() })),
    flags: command
      .createHelp()
      .visibleOptions(command)
      .map((option) => flagOf(option, path)),
    args: argumentsOf(command, path),
  };
  return [verb, ...children.flatMap((one) => verbsOf(one, `${path} ${one.name()}`.trim()))];
}

function flagOf(option: Option, path: string): Flag {
  const names = [option.short, option.long].filter((name) => name !== undefined);
  return { names, description: option.description, value: valueOf(option, path) };
}

/** Flags that take a name known to the daemon, and the kind of that name. */
const NAMED: Readonly<Record<string, NameKind>> = {
  '--endpoint': 'endpoints',
  '--to': 'endpoints',
  '--source': 'sources',
  '--run': 'runs',
};

/** Values of flags that take several by comma, of which commander knows no choices. */
const LISTED: Readonly<Record<string, readonly string[]>> = {
  'list --state': WATCH_STATES,
  'deliveries --state': DELIVERY_STATE_WORDS,
  'redeliver --state': DELIVERY_STATE_WORDS,
  'alerts --state': ALERT_STATES,
  '--status': KNOWN_STATUSES,
  '--type': [...LOGGED_TYPES, ...LOGGED_FAMILIES],
  '--event': EVENT_TYPES,
};

function valueOf({ long = '', flags, argChoices }: Option, path: string): Words | null {
  if (!/[<[]/.test(flags)) return null;
  const named = NAMED[long];
  if (named !== undefined) return { kind: 'names', of: named };
  const words = LISTED[`${path} ${long}`] ?? (/<id>/.test(flags) ? undefined : LISTED[long]);
  if (words !== undefined && argChoices === undefined) return { kind: 'choices', words };
  if (argChoices !== undefined) return { kind: 'choices', words: argChoices };
  return /<path>/.test(flags) ? { kind: 'file' } : { kind: 'free' };
}

function argumentsOf(command: Command, path: string): Words {
  const [first] = command.registeredArguments;
  if (first === undefined) return { kind: 'free' };
  if (first.argChoices !== undefined) return { kind: 'choices', words: first.argChoices };
  if (first.name().endsWith('run-id')) return { kind: 'names', of: 'runs' };
  if (path.startsWith('endpoints ')) return { kind: 'names', of: 'endpoints' };
  if (path.startsWith('sources ')) return { kind: 'names', of: 'sources' };
  return { kind: 'free' };
}

/** All pairs of a verb's path and what may follow it, as a shell pattern. */
function stepsOf(verbs: readonly Verb[]): string[] {
  return verbs
    .filter(({ path }) => path !== '')
    .map(({ path }) => (path.includes(' ') ? path : ` ${path}`));
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Only these are asked, so that a shell never runs what a flag's text says. */
function nameCommand(of: NameKind): string {
  return `runwatch complete ${of} 2>/dev/null`;
}

/* bash: without the package bash-completion. */

/**
 * Ids may hold any printable letter, also those at which bash divides words, and those by which it runs
 * commands. So no name is ever evaluated, each is quoted as bash needs it, and words are put together again.
 */
function bashScript(verbs: readonly Verb[]): string {
  const values = verbs.flatMap(({ path, flags }) =>
    flags.flatMap(({ names, value }) => {
      if (value === null) return [];
      const pattern = names.map((name) => quote(`${path} ${name}`)).join('|');
      return [`    ${pattern}) ${bashValue(value)}; return ;;`];
    }),
  );
  return `# Completes runwatch in bash; load it by: source <(runwatch completion bash)

# Offers the names that begin with what is typed, without what bash leaves in place of it.
_runwatch_offer() {
  local name
  for name; do
    [[ $name == "$typed"* ]] || continue
    name=\${name#"$head"}
    if [[ -z $quote ]]; then printf -v name %q "$name"
    elif [[ $name == *[\\'\\"\\\`\\$\\\\!]* ]]; then continue
    fi
    COMPREPLY+=("$name")
  done
}

_runwatch_ask() {
  local name
  while IFS= read -r name; do _runwatch_offer "$name"; done < <(runwatch complete "$1" 2>/dev/null)
}

_runwatch() {
  local rest=\${COMP_LINE:0:COMP_POINT} cur prev verb='' typed head='' quote='' breaks='' letter i
  local -a words=()
  COMPREPLY=()
  # What no space divides is one word.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
      rest=\${rest#"\${rest%%[![:space:]]*}"}
      words+=('')
    fi
    cur=\${COMP_WORDS[i]}
    ((i < COMP_CWORD)) || cur=$rest
    words[\${#words[@]} - 1]+=$cur
    rest=\${rest#"$cur"}
  done
  cur=\${words[\${#words[@]} - 1]}
  prev=\${words[\${#words[@]} - 2]}
  for ((i = 1; i < \${#words[@]} - 1; i++)); do
    case "$verb \${words[i]}" in
      ${stepsOf(verbs).map(quote).join('|')})
        verb="\${verb:+$verb }\${words[i]}" ;;
    esac
  done
  if [[ $cur == --*=* && $COMP_WORDBREAKS == *=* ]]; then
    prev=\${cur%%=*} cur=\${cur#*=}
  fi
  if [[ $cur == [\\'\\"]* ]]; then
    quote=\${cur:0:1} typed=\${cur:1}
  else
    IFS= read typed <<<"$cur"
    for letter in @ = :; do [[ $COMP_WORDBREAKS == *$letter* ]] && breaks+=$letter; done
    [[ -n $breaks && $typed == *[$breaks]* ]] && head=\${typed%"\${typed##*[$breaks]}"}
    # Bash replaces an @, too, as the beginning of a host name.
    head=\${head%@}
  fi
  case "$verb $prev" in
${values.join('\n')}
  esac
  case "$verb" in
${verbs.map((verb) => `    ${quote(verb.path)}) ${bashWords(verb)} ;;`).join('\n')}
  esac
}
complete -F _runwatch runwatch
`;
}

function bashValue(value: Words): string {
  switch (value.kind) {
    case 'choices':
      return `_runwatch_offer ${value.words.map(quote).join(' ')}`;
    case 'names':
      return `_runwatch_ask ${value.of}`;
    case 'file':
      return 'COMPREPLY=($(compgen -f -- "$cur"))';
    case 'free':
      return ':';
  }
}

function bashWords({ verbs, flags, args }: Verb): string {
  const fixed = [
    ...verbs.map(({ name }) => name),
    ...flags.flatMap(({ names }) => names),
    ...(args.kind === 'choices' ? args.words : []),
  ];
  const offer = `_runwatch_offer ${fixed.map(quote).join(' ')}`;
  // Names are only asked for where no flag is being typed.
  return args.kind === 'names' ? `${offer}; [[ $cur == -* ]] || _runwatch_ask ${args.of}` : offer;
}

/* zsh: the same walk, with descriptions. */

function zshScript(verbs: readonly Verb[]): string {
  const values = verbs.flatMap(({ path, flags }) =>
    flags.flatMap(({ names, value }) =>
      value === null
        ? []
        : [
            `    (${names.map((name) => quote(`${path} ${name}`)).join('|')}) ${zshValue(value)}; return ;;`,
          ],
    ),
  );
  return `#compdef runwatch
# Completes runwatch in zsh; load it by: source <(runwatch completion zsh)
_runwatch() {
  local verb='' prev=\${words[CURRENT-1]} i
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    case "$verb \${words[i]}" in
      (${stepsOf(verbs).map(quote).join('|')})
        verb="\${verb:+$verb }\${words[i]}" ;;
    esac
  done
  case "$verb $prev" in
${values.join('\n')}
  esac
  case "$verb" in
${verbs.map((verb) => `    (${quote(verb.path)}) ${zshWords(verb)} ;;`).join('\n')}
  esac
  _describe runwatch found
}
if [[ \${funcstack[1]} == _runwatch ]]; then _runwatch "$@"; else compdef _runwatch runwatch; fi
`;
}

function zshValue(value: Words): string {
  switch (value.kind) {
    case 'choices':
      return `compadd -- ${value.words.map(quote).join(' ')}`;
    case 'names':
      return `compadd -- \${(f)"$(${nameCommand(value.of)})"}`;
    case 'file':
      return '_files';
    case 'free':
      return ':';
  }
}

/** Names are no part of what is described: a colon would end them. */
function zshWords({ verbs, flags, args }: Verb): string {
  const describe = (name: string, description: string) =>
    quote(`${name.replaceAll(':', String.raw`\:`)}:${description.replaceAll('\n', ' ')}`);
  const found = [
    ...verbs.map(({ name, description }) => describe(name, description)),
    ...flags.flatMap(({ names, description }) => names.map((name) => describe(name, description))),
    ...(args.kind === 'choices' ? args.words.map(quote) : []),
  ].join(' ');
  return `found=(${found})${args.kind === 'names' ? `; ${zshValue(args)}` : ''}`;
}

/* fish: one line for each word. */

function fishScript(verbs: readonly Verb[]): string {
  return `# Completes runwatch in fish; keep it as ~/.config/fish/completions/runwatch.fish
function __runwatch_at
    set -l verb ''
    for word in (commandline -opc)[2..-1]
        switch "$verb $word"
            case ${stepsOf(verbs).map(quote).join(' ')}
                set verb (string trim -- "$verb $word")
        end
    end
    test "$verb" = "$argv[1]"
end
complete -c runwatch -f
${verbs.flatMap(fishLines).join('\n')}
`;
}

function fishLines({ path, verbs, flags, args }: Verb): string[] {
  const start = `complete -c runwatch -n ${quote(`__runwatch_at ${quote(path)}`).replaceAll(`'\\''`, '"')}`;
  return [
    ...verbs.map(({ name, description }) => `${start} -a ${name} -d ${quote(description)}`),
    ...flags.map(({ names, description, value }) => {
      const spelt = names.map((name) =>
        name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      return `${start} ${spelt.join(' ')}${fishValue(value)} -d ${quote(description)}`;
    }),
    ...(args.kind === 'free' || args.kind === 'file' ? [] : [`${start}${fishWords(args)}`]),
  ];
}

function fishValue(value: Words | null): string {
  if (value === null) return '';
  if (value.kind === 'file') return ' -rF';
  return value.kind === 'free' ? ' -x' : ` -x${fishWords(value)}`;
}

function fishWords(words: Words): string {
  if (words.kind === 'choices') return ` -a ${quote(words.words.join(' '))}`;
  return words.kind === 'names' ? ` -a ${quote(`(${nameCommand(words.of)})`)}` : '';
}

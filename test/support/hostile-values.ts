/** Text of a value that a caller may give as one of these types; null is given beside all of them. */
export const HOSTILE: Readonly<Record<string, readonly string[]>> = {
  text: [
    '',
    ' ',
    '*',
    '%',
    'unheard-of',
    "'; select 1 --",
    'x'.repeat(20_000),
    '\u0001\u001b[2J\u007f\u0085\u2028\u202e',
    '\\',
    '1'.repeat(400),
    '-1',
    '1e-400',
    'infinity',
    'NaN',
    'null',
  ],
  bigint: ['0', '-1', '1', '9223372036854775807', '-9223372036854775808', '2147483648'],
  integer: ['0', '-1', '1', '2147483647', '-2147483648', '100000'],
  smallint: ['0', '-1', '32767', '-32768'],
  boolean: ['true', 'false'],
  'double precision': ['0', '-1', 'NaN', 'Infinity', '-Infinity', '1e308', '1e-308'],
  'timestamp with time zone': [
    'infinity',
    '-infinity',
    'epoch',
    '294276-12-31 23:59:59 UTC',
    '4713-01-01 00:00:00 UTC BC',
    '1999-01-01 UTC',
  ],
  'bigint[]': [
    '{}',
    '{NULL}',
    '{1,NULL,1}',
    '{0,-1,9223372036854775807,-9223372036854775808}',
    '{{1,2},{3,4}}',
    '[-2147483648:-2147483647]={1,2}',
    '[2147483640:2147483641]={1,2}',
    `{${Array.from({ length: 300 }, (_, i) => i).join()}}`,
  ],
  'integer[]': [
    '{}',
    '{NULL}',
    '{0,-1,2147483647,-2147483648}',
    '{{1,2},{3,4}}',
    '[2147483640:2147483641]={1,2}',
  ],
  'smallint[]': [
    '{}',
    '{NULL}',
    '{0,-1,32767,-32768}',
    '{{1,2},{3,4}}',
    '[2147483640:2147483641]={1,2}',
  ],
  'text[]': ['{}', '{NULL}', '{"",x,NULL}', '{{a,b},{c,d}}', '[2147483640:2147483641]={a,b}'],
};

const DEEP = '['.repeat(700) + ']'.repeat(700);

/** JSON where something else is expected. */
export const HOSTILE_JSON: readonly string[] = [
  'null',
  '0',
  '-1',
  '1.5',
  '1e-400',
  '-1e20000',
  '0e-16383',
  '2147483648',
  '9223372036854775808',
  '""',
  '"x"',
  '"-1"',
  '"1e-400"',
  '"99999999999999999"',
  '"9999999999999999999"',
  '"NaN"',
  '"infinity"',
  '"294276-12-31"',
  '"2001-02-30"',
  '"\\u0001\\u001b[2J\\u007f\\u202e"',
  '"１２"',
  `"${'x'.repeat(20_000)}"`,
  '[]',
  '{}',
  '[null]',
  '[1e400]',
  '[["x"]]',
  '{"x": 1}',
  DEEP,
  DEEP.replaceAll('[', '{"a":[').replaceAll(']', ']}'),
];

/** Copies of a JSON text, each with something hostile at one place in it, or without that place. */
export function* hostileCopies(json: string): Generator<string> {
  yield* HOSTILE_JSON;
  for (const path of pathsOf(JSON.parse(json) as unknown)) {
    yield written(JSON.parse(json) as unknown, path, undefined);
    for (const hostile of HOSTILE_JSON) yield written(JSON.parse(json) as unknown, path, hostile);
  }
}

type Path = readonly (string | number)[];

function* pathsOf(value: unknown, path: Path = []): Generator<Path> {
  if (typeof value !== 'object' || value === null) return;
  const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
  for (const key of keys) {
    const inner = [...path, key];
    yield inner;
    yield* pathsOf((value as Record<string | number, unknown>)[key], inner);
  }
}

/** Numbers such as 1e400 are no JavaScript values: they are put in as text. */
function written(value: unknown, path: Path, hostile: string | undefined): string {
  const last = path.at(-1) as string;
  const parent = path.slice(0, -1).reduce((at, key) => (at as Record<string, unknown>)[key], value);
  if (hostile === undefined) delete (parent as Record<string, unknown>)[last];
  else (parent as Record<string, unknown>)[last] = '@hostile@';
  return JSON.stringify(value).replace('"@hostile@"', () => hostile ?? '');
}

import { HowdahError } from '../errors.js';
import type { Json } from '../json.js';
import type { AnyQueue } from '../queue/queue.js';
import { describeIssue, type StandardSchemaResult } from './standard-schema.js';

const ISSUES_SHOWN_MAX = 3;

/**
 * A stored result as the schema of its queue makes it; without one as it is.
 * @throws HowdahError HOWDAH_RESULT_INVALID with `details.issues`
 */
export async function readResult(queue: AnyQueue, id: string, result: Json): Promise<unknown> {
  const { resultSchema } = queue;
  if (!resultSchema) return result;
  let checked: StandardSchemaResult<unknown>;
  try {
    checked = await resultSchema['~standard'].validate(result);
  } catch (cause) {
    throw invalid(queue, id, 'cannot be checked: the schema threw', { cause, details: {} });
  }
  if (!checked.issues) return checked.value;
  const issues = checked.issues.map(describeIssue);
  const shown = issues.slice(0, ISSUES_SHOWN_MAX).join('; ');
  const more = issues.length > ISSUES_SHOWN_MAX ? `; ${issues.length - ISSUES_SHOWN_MAX} more` : '';
  throw invalid(queue, id, `does not fit the schema: ${shown}${more}`, {
    details: { issues, result },
  });
}

function invalid(
  { name }: AnyQueue,
  id: string,
  problem: string,
  { details, ...rest }: { readonly details: object; readonly cause?: unknown },
): HowdahError {
  return new HowdahError(
    'HOWDAH_RESULT_INVALID',
    `Job ${id} of queue ${name} is completed, but its result ${problem}.`,
    {
      ...rest,
      details: { id, queue: name, ...details },
      remedy:
        'Mend its handler or the resultSchema; `client.jobs.get(id)` shows the result as it is.',
    },
  );
}

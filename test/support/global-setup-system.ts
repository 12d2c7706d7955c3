import type { TestProject } from 'vitest/node';
import { provideTemplate } from './template.js';
import { startSystemServer } from './test-server.js';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  return provideTemplate(project, await startSystemServer());
}

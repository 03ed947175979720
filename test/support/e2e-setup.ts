import globalSetup from './global-setup.ts';
import requireBuild from './require-build.ts';

export default async function e2eSetup(): Promise<void> {
  requireBuild();
  await globalSetup();
}

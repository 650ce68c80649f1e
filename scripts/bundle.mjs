// The last step of a build: the workflow code as one script (see worker/workflow-bundle.ts).
import { writeWorkflowBundle } from '../dist/worker/workflow-bundle.js';

await writeWorkflowBundle();

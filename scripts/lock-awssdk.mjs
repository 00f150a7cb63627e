// Prints runtimes/lock-awssdk.txt: the AWS SDK for JavaScript as the Node runtimes carry it, every package with its version and hash, as npm resolves them today.
//
//   node scripts/lock-awssdk.mjs > runtimes/lock-awssdk.txt
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// What functions most often call. All other clients stay in the function's own package.
const clients = ['apigatewaymanagementapi', 'appconfigdata', 'athena', 'bedrock-runtime', 'cloudwatch', 'cloudwatch-logs', 'cognito-identity-provider', 'dynamodb',
  'dynamodb-streams', 'ecs', 'eventbridge', 'firehose', 'iot-data-plane', 'kinesis', 'kms', 'lambda', 'rds-data', 's3', 'scheduler', 'secrets-manager', 'ses',
  'sesv2', 'sfn', 'sns', 'sqs', 'ssm', 'sts'];
const libraries = ['cloudfront-signer', 'credential-providers', 'lib-dynamodb', 'lib-storage', 'rds-signer', 's3-presigned-post', 's3-request-presigner', 'util-dynamodb'];

const dir = mkdtempSync(join(tmpdir(), 'lock-awssdk-'));
try {
  writeFileSync(join(dir, 'package.json'), '{"private":true}');
  const wanted = [...clients.map((c) => `client-${c}`), ...libraries].map((p) => `@aws-sdk/${p}`);
  execFileSync('npm', ['install', '--package-lock-only', '--ignore-scripts', '--omit=optional', '--omit=peer', ...wanted], { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] });
  const { packages } = JSON.parse(readFileSync(join(dir, 'package-lock.json'), 'utf8'));
  console.log('# The AWS SDK for JavaScript. Made by scripts/lock-awssdk.mjs, in the form of lock.txt.');
  // Sources for bundlers and types are not for running.
  const skip = 'dist-es/,dist-types/,*.d.ts,*.map,*.md';
  const paths = Object.keys(packages).sort((a, b) => (b === 'node_modules/@aws-sdk/client-s3') - (a === 'node_modules/@aws-sdk/client-s3')); // whose version names the whole
  for (const path of paths) {
    const p = packages[path];
    if (path === '' || p.optional || p.peer) continue;
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    console.log(`npm awssdk-nodejs/any ${name} ${p.version} ${p.integrity} to=${path} skip=${skip}`);
  }
} finally {
  rmSync(dir, { recursive: true });
}

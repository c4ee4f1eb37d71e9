// The vendor's Node SDKs as clients: does what its argument (JSON) says and prints, as JSON, what came back.
//
//   sdk     'fc2': @alicloud/fc2; 'acs3' or 'roa': @alicloud/openapi-util, as the documentation's samples use it
//   origin  http://host:port
//   key     {accessKeyId, accessKeySecret, securityToken}
//   method, path, body
//   query   parameters, in order
//   socket  upgrade to WebSocket, send this text, and print what is echoed
const http = require('http');
const querystring = require('querystring');
const FC = require('@alicloud/fc2');
const OpenApiUtil = require('@alicloud/openapi-util').default;
const { Request } = require('@alicloud/tea-typescript');
const WebSocket = require('ws');

const job = { method: 'GET', path: '/', query: {}, ...JSON.parse(process.argv[2]) };

function signed() {
  const { accessKeyId, accessKeySecret, securityToken } = job.key;
  const request = new Request();
  request.method = job.method;
  request.query = job.query;
  if (job.sdk === 'acs3') {
    const algorithm = 'ACS3-HMAC-SHA256';
    request.pathname = job.path.replace('$', '%24');
    request.headers = { 'x-acs-date': new Date().toISOString(), 'x-acs-security-token': securityToken || '' };
    const authorization = OpenApiUtil.getAuthorization(request, algorithm, '', accessKeyId, accessKeySecret);
    return { ...request.headers, authorization };
  }
  request.pathname = job.path;
  request.headers = { accept: 'application/json', date: new Date().toUTCString() };
  if (securityToken) {
    request.headers['x-acs-security-token'] = securityToken;
  }
  const signature = OpenApiUtil.getROASignature(OpenApiUtil.getStringToSign(request), accessKeySecret);
  return { ...request.headers, authorization: `acs ${accessKeyId}:${signature}` };
}

function target() {
  const query = querystring.stringify(job.query);
  return job.origin + job.path + (query && `?${query}`);
}

function plain() {
  return new Promise((resolve, reject) => {
    const request = http.request(target(), { method: job.method, headers: signed() }, (response) => {
      let body = '';
      response.on('data', (data) => (body += data));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
    request.on('error', reject);
    request.end(job.body);
  });
}

function echoed(ws) {
  return new Promise((resolve, reject) => {
    ws.on('open', () => ws.send(job.socket));
    ws.on('message', (data) => {
      ws.on('close', () => resolve({ status: 101, body: data.toString() }));
      ws.close();
    });
    ws.on('unexpected-response', (request, response) => {
      let body = '';
      response.on('data', (data) => (body += data));
      response.on('end', () => {
        resolve({ status: response.statusCode, body });
        ws.terminate();
      });
    });
    ws.on('error', reject);
  });
}

async function fc2() {
  const client = new FC('1234567890123456', {
    accessKeyID: job.key.accessKeyId,
    accessKeySecret: job.key.accessKeySecret,
    securityToken: job.key.securityToken,
    region: 'cn-hangzhou',
    endpoint: job.origin,
  });
  const path = `/proxy/service/fn${job.path}`;
  if (job.socket !== undefined) {
    return echoed(client.websocket(path, job.query));
  }
  try {
    const { data } = await client.request(job.method, path, job.query, job.body);
    return { status: 200, body: typeof data === 'string' ? data : JSON.stringify(data) };
  } catch (error) {
    return { status: Number(/failed with (\d+)/.exec(error.message)[1]), body: error.message };
  }
}

async function main() {
  const openapi = () => (job.socket === undefined ? plain() : echoed(new WebSocket(target(), { headers: signed() })));
  console.log(JSON.stringify(await (job.sdk === 'fc2' ? fc2() : openapi())));
}

main();

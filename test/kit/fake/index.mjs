export { FakeHttp } from './http.mjs'
export { FakeSse } from './sse.mjs'

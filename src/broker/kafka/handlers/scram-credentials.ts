/** DescribeUserScramCredentials (50, v0), AlterUserScramCredentials (51, v0): the users of the metadata store; any broker takes the change. */
import { describeUserScramCredentials } from '../../../kafka/apis/50-describe-user-scram-credentials.ts'
import { alterUserScramCredentials } from '../../../kafka/apis/51-alter-user-scram-credentials.ts'
import { CLUSTER } from '../../authorise.ts'
import { coldHandler } from '../kafka-handler.ts'

export const describeUserScramCredentialsHandler = coldHandler(describeUserScramCredentials, async (call) => {
  const { users } = call.gateway
  try {
    call.demand(CLUSTER)
    const names = call.request.users?.map(({ name }) => name) ?? []
    const found = await users.describe(names)
    const results = found.map(({ name: user, errorCode, errorText, credentials }) => ({
      ...{ user, errorCode: call.code(errorCode), errorMessage: errorCode === 'NONE' ? null : errorText },
      credentialInfos: credentials,
    }))
    return { errorCode: 0, errorMessage: null, results }
  } catch (error) {
    return { ...call.fault(error), results: [] }
  }
})

export const alterUserScramCredentialsHandler = coldHandler(alterUserScramCredentials, async (call) => {
  const { deletions, upsertions } = call.request
  try {
    call.demand(CLUSTER)
    const results = await call.gateway.users.alter(deletions, upsertions)
    return {
      results: results.map(({ name: user, errorCode, errorText }) => ({
        ...{ user, errorCode: call.code(errorCode), errorMessage: errorCode === 'NONE' ? null : errorText },
      })),
    }
  } catch (error) {
    const fault = call.fault(error)
    return { results: [...deletions, ...upsertions].map(({ name: user }) => ({ user, ...fault })) }
  }
})

/**
 * DescribeAcls (29), CreateAcls (30), DeleteAcls (31), v1–3, and DescribeClientQuotas (48), AlterClientQuotas (49), v0–1: this release has
 * neither. Rules are answered SECURITY_DISABLED, as by a Kafka without an authorizer: who is somebody may do everything. Of quotas
 * there are none to describe, and none can be set.
 */
import { describeAcls } from '../../../kafka/apis/29-describe-acls.ts'
import { createAcls } from '../../../kafka/apis/30-create-acls.ts'
import { deleteAcls } from '../../../kafka/apis/31-delete-acls.ts'
import { describeClientQuotas } from '../../../kafka/apis/48-describe-client-quotas.ts'
import { alterClientQuotas } from '../../../kafka/apis/49-alter-client-quotas.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'

const noRules = (call: KafkaCall<unknown>) => ({
  errorCode: call.code('SECURITY_DISABLED'),
  errorMessage: 'this broker has no rules of access: whoever is somebody may do everything',
})

export const describeAclsHandler = coldHandler(describeAcls, (call) => ({ ...noRules(call), resources: [] }))

export const createAclsHandler = coldHandler(createAcls, (call) => ({
  results: call.request.creations.map(() => noRules(call)),
}))

export const deleteAclsHandler = coldHandler(deleteAcls, (call) => ({
  filterResults: call.request.filters.map(() => ({ ...noRules(call), matchingAcls: [] })),
}))

export const describeClientQuotasHandler = coldHandler(describeClientQuotas, () => ({
  ...{ errorCode: 0, errorMessage: null, entries: [] },
}))

export const alterClientQuotasHandler = coldHandler(alterClientQuotas, (call) => ({
  entries: call.request.entries.map(({ entity }) => ({
    ...{ errorCode: call.code('INVALID_REQUEST'), errorMessage: 'this broker has no quotas', entity },
  })),
}))

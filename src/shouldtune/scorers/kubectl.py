"""What kubectl calls by several names: kinds of resources, flags, and which of its flags take a value.

From the reference of kubectl 1.34 (`kubectl api-resources`, `kubectl options` and each command's flags).
"""

from __future__ import annotations

PROGRAMS = {"k": "kubectl", "kubectl.exe": "kubectl"}

_KINDS = """
pods pod po | services service svc | deployments deployment deploy | namespaces namespace ns | nodes node no
configmaps configmap cm | secrets secret | replicasets replicaset rs | statefulsets statefulset sts
daemonsets daemonset ds | jobs job | cronjobs cronjob cj | ingresses ingress ing | endpoints endpoint ep
ingressclasses ingressclass | endpointslices endpointslice | events event ev | serviceaccounts serviceaccount sa
persistentvolumes persistentvolume pv | persistentvolumeclaims persistentvolumeclaim pvc
storageclasses storageclass sc | replicationcontrollers replicationcontroller rc
horizontalpodautoscalers horizontalpodautoscaler hpa | networkpolicies networkpolicy netpol
poddisruptionbudgets poddisruptionbudget pdb | priorityclasses priorityclass pc | resourcequotas resourcequota quota
limitranges limitrange limits | componentstatuses componentstatus cs | podtemplates podtemplate
customresourcedefinitions customresourcedefinition crd crds | certificatesigningrequests certificatesigningrequest csr
roles role | rolebindings rolebinding | clusterroles clusterrole | clusterrolebindings clusterrolebinding
leases lease | controllerrevisions controllerrevision | apiservices apiservice | volumeattachments volumeattachment
"""
KINDS = {name: part.split()[0] for part in _KINDS.replace("\n", "|").split("|") for name in part.split()}
"""Every name of a kind of resource -> its plural."""

SHORT = {
    "A": "all-namespaces",
    "R": "recursive",
    "L": "label-columns",
    "c": "container",
    "e": "env",
    "f": "filename",
    "h": "help",
    "i": "stdin",
    "k": "kustomize",
    "l": "selector",
    "n": "namespace",
    "o": "output",
    "p": "patch",
    "q": "quiet",
    "r": "replicas",
    "s": "server",
    "t": "tty",
    "v": "v",
    "w": "watch",
}
"""Short flags -> long ones, where the command does not say otherwise."""

SHORT_OF_COMMAND: dict[str, dict[str, str]] = {
    "logs": {"f": "follow", "p": "previous"},
    "run": {"l": "labels"},
    "proxy": {"p": "port", "w": "www", "P": "www-prefix", "u": "unix-socket"},
}

_SWITCHES = """
a all all-containers all-namespaces all-pods allow-missing-template-keys append-hash attach cached cascade client
command containers create-annotation current delete-emptydir-data delete-local-data disable-eviction dry-run edit
embed-certs enable-helm expose flatten follow force force-conflicts global-default help ignore-daemonsets ignore-errors
ignore-not-found insecure-skip-tls-verify insecure-skip-tls-verify-backend keep-annotations keep-labels
leave-stdin-open list local match-server-version merge minify name-only namespaced no-headers no-preserve now
overwrite previous prune quiet record recursive rm rollback save-config server-side set-raw-bytes share-processes short
show-all show-events show-kind show-labels show-managed-fields stdin sum timestamps tty validate wait warnings-as-errors
watch watch-only
"""
SWITCHES = frozenset(_SWITCHES.split())
"""Flags that take a value only after `=`."""

SWITCHES_OF_COMMAND = {"logs": frozenset({"prefix"}), "config": frozenset({"raw"})}

TWO_WORDS = frozenset({"rollout", "set", "auth", "config", "certificate", "kuberc"})
"""Commands whose second word still belongs to the command."""

NO_KINDS = frozenset(
    {"config", "cp", "run", "completion", "plugin", "kuberc", "proxy", "kustomize", "certificate"}
    | {"cordon", "uncordon", "drain"}
)
"""Commands whose words name no kinds of resources."""

PODS_MEANT = frozenset({"logs", "exec", "attach", "port-forward", "debug"})
"""Commands that take a bare name for a pod's."""

#!/bin/bash
# A real Kubernetes of several nodes on one machine: every node is a set of namespaces with its own
# containerd, kubelet and kube-proxy, joined by a bridge; nothing touches the machine's network.
#   lab.sh up NODES      etcd, control plane, nodes         lab.sh down     ends all of it
#   lab.sh node N        starts one node                    lab.sh rmnode N kills one, as power loss
#   lab.sh load TAR...   images into every node             lab.sh k ARGS   kubectl
#   lab.sh helm ARGS     helm ($HELM)                       lab.sh client C a command outside
#   lab.sh in N C        a command inside of a node
#   lab.sh losenode N    the same, and Kubernetes has to find out
#   lab.sh apioff, apion the API server is gone, and back
# BIN: programs; RUN: state; IMAGES: archives for every node; PREFIX: of namespaces; NET: a /24.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
: "${BIN:?}" "${RUN:?}" "${IMAGES:?}"
P=${PREFIX:-edgelab}
NET=${NET:-10.77.0}
SVC=10.96
POD=10.244
export PATH="$BIN:$PATH"
mkdir -p "$RUN"/{pki,log,pid}

within() { local ns=$1; shift; nsenter --net="/run/netns/$P-$ns" "$@"; }

# A node's cgroups exist in every hierarchy; cpuset wants to be filled in by hand.
cgroups="unified cpu cpuacct cpuset memory devices freezer blkio pids systemd"

cert() { # name, common name, organisation, alternative names
  local file=$RUN/pki/$1
  [ -f "$file.crt" ] && return
  openssl ecparam -name prime256v1 -genkey -noout -out "$file.key" 2>/dev/null
  openssl req -new -key "$file.key" -subj "/O=$3/CN=$2" -out "$file.csr" 2>/dev/null
  {
    echo 'basicConstraints=CA:FALSE'
    echo 'keyUsage=digitalSignature,keyEncipherment'
    echo 'extendedKeyUsage=serverAuth,clientAuth'
    [ -n "$4" ] && echo "subjectAltName=$4"
  } > "$file.ext"
  openssl x509 -req -in "$file.csr" -CA "$RUN/pki/ca.crt" -CAkey "$RUN/pki/ca.key" \
    -CAcreateserial -days 30 -extfile "$file.ext" -out "$file.crt" 2>/dev/null
}

kubeconfig() { # name
  local pki=$RUN/pki
  cat > "$RUN/$1.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters:
  - {name: lab, cluster: {server: "https://$NET.1:6443", certificate-authority: $pki/ca.crt}}
users:
  - {name: $1, user: {client-certificate: $pki/$1.crt, client-key: $pki/$1.key}}
contexts: [{name: lab, context: {cluster: lab, user: $1}}]
current-context: lab
Y
}

start() { # name, command...
  local name=$1; shift
  setsid nsenter --net="/run/netns/$P-cp" "$@" > "$RUN/log/$name.log" 2>&1 < /dev/null &
  echo $! > "$RUN/pid/$name"
}

link() { # namespace, address: a cable from it to the bridge
  local ns=$1
  ip netns add "$P-$ns"
  ip link add "$P-$ns-e" type veth peer name "$P-$ns-b"
  ip link set "$P-$ns-e" netns "$P-$ns"
  ip link set "$P-$ns-b" netns "$P-cp"
  within cp ip link set "$P-$ns-b" master fab0 up
  within "$ns" ip link set lo up
  within "$ns" ip link set "$P-$ns-e" name eth0
  within "$ns" ip addr add "$2/24" dev eth0
  within "$ns" ip link set eth0 up
  within "$ns" ip route add default via "$NET.1"
}

# Nodes have no names in any DNS: the API server reaches kubelets by their addresses.
api_server() {
  local pki=$RUN/pki i
  start apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --service-cluster-ip-range=$SVC.0.0/16 --authorization-mode=Node,RBAC \
    --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" \
    --tls-private-key-file="$pki/apiserver.key" --service-account-key-file="$pki/sa.pub" \
    --service-account-signing-key-file="$pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --allow-privileged=true --advertise-address="$NET.1" --bind-address=0.0.0.0 \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --kubelet-preferred-address-types=InternalIP --enable-admission-plugins=NodeRestriction \
    --cert-dir="$RUN/certs" --profiling=false
  for ((i = 0; i < 600; i++)); do
    within cp curl -sk --max-time 1 --cert "$pki/admin.crt" --key "$pki/admin.key" \
      https://127.0.0.1:6443/readyz 2>/dev/null | grep -q '^ok' && break
    sleep 0.2
  done
}

control_plane() {
  local pki=$RUN/pki name
  ip netns add "$P-cp"
  within cp ip link set lo up
  within cp ip link add fab0 type bridge
  within cp ip addr add "$NET.1/24" dev fab0
  within cp ip link set fab0 up
  within cp sysctl -qw net.ipv4.ip_forward=1
  link cl "$NET.100"
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/ca.key"
  openssl req -x509 -new -key "$pki/ca.key" -subj /CN=lab-ca -days 30 -out "$pki/ca.crt" 2>/dev/null
  openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
  openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
  local svc=kubernetes.default
  cert apiserver kube-apiserver kubernetes \
    "IP:$NET.1,IP:127.0.0.1,IP:$SVC.0.1,DNS:localhost,DNS:kubernetes,DNS:$svc,DNS:$svc.svc"
  cert admin admin system:masters ''
  cert kcm system:kube-controller-manager system:kube-controller-manager ''
  cert sched system:kube-scheduler system:kube-scheduler ''
  cert proxy system:kube-proxy system:node-proxier ''
  for name in admin kcm sched proxy; do kubeconfig $name; done
  start etcd etcd --data-dir "$RUN/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
  api_server
  start kcm kube-controller-manager --kubeconfig="$RUN/kcm.kubeconfig" \
    --authentication-kubeconfig="$RUN/kcm.kubeconfig" \
    --authorization-kubeconfig="$RUN/kcm.kubeconfig" --root-ca-file="$pki/ca.crt" \
    --service-account-private-key-file="$pki/sa.key" --use-service-account-credentials \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --leader-elect=false --cert-dir="$RUN/certs"
  start sched kube-scheduler --kubeconfig="$RUN/sched.kubeconfig" \
    --authentication-kubeconfig="$RUN/sched.kubeconfig" \
    --authorization-kubeconfig="$RUN/sched.kubeconfig" --leader-elect=false --cert-dir="$RUN/certs"
}

make_cgroups() { # path
  local kind step path
  for kind in $cgroups; do
    [ -d "/sys/fs/cgroup/$kind" ] || continue
    mkdir -p "/sys/fs/cgroup/$kind/$1"
    # All pods together would else weigh as much as one process beside them.
    [ "$kind" = cpu ] && echo 16384 > "/sys/fs/cgroup/cpu/$P/cpu.shares"
    [ "$kind" = cpuset ] || continue
    path=/sys/fs/cgroup/cpuset
    for step in ${1//\// }; do
      path=$path/$step
      cat /sys/fs/cgroup/cpuset/cpuset.cpus > "$path/cpuset.cpus"
      cat /sys/fs/cgroup/cpuset/cpuset.mems > "$path/cpuset.mems"
    done
  done
}

node_files() { # number, folder, name
  cat > "$2/cni/10-lab.conflist" <<Y
{"cniVersion": "0.4.0", "name": "lab", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD.$1.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
Y
  cat > "$2/containerd.toml" <<Y
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "lab.local/pause:1"
  # Machines without CAP_SYS_RESOURCE cannot lower the score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
Y
  cat > "$2/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$P/n$1
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication:
  {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $RUN/pki/ca.crt}}
authorization: {mode: Webhook}
clusterDomain: cluster.local
clusterDNS: [$SVC.0.10]
resolvConf: $2/resolv.conf
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "100Mi"}
syncFrequency: 5s
configMapAndSecretChangeDetectionStrategy: Watch
tlsCertFile: $RUN/pki/n$1.crt
tlsPrivateKeyFile: $RUN/pki/n$1.key
Y
  cat > "$2/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $POD.0.0/16
clientConnection: {kubeconfig: $RUN/proxy.kubeconfig}
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
hostnameOverride: $3
Y
  echo 'nameserver 127.0.0.1' > "$2/resolv.conf"
}

node_up() { # number
  local i=$1 name=$P-n$1 folder=$RUN/n$1
  link "n$i" "$NET.1$i"
  within "n$i" sysctl -qw net.ipv4.ip_forward=1
  within cp ip route replace "$POD.$i.0/24" via "$NET.1$i"
  mkdir -p "$folder"/{kubelet,containerd,cni-state,log-pods,log-containers,cni}
  make_cgroups "$P/n$i"
  cert "n$i" "system:node:$name" system:nodes "IP:$NET.1$i,DNS:$name"
  kubeconfig "n$i"
  node_files "$i" "$folder" "$name"
  setsid nsenter --net="/run/netns/$P-n$i" \
    unshare --mount --uts --pid --fork --kill-child --mount-proc --propagation private \
    env RUN="$RUN" BIN="$BIN" IMAGES="$IMAGES" bash "$HERE/node.sh" "$name" "$i" "$NET.1$i" \
    > "$RUN/log/n$i.log" 2>&1 < /dev/null &
  echo $! > "$RUN/pid/n$i"
}

first_process() { pgrep -P "$(cat "$RUN/pid/n$1")" | head -1; }
node_in() { local i=$1; shift; nsenter -t "$(first_process "$i")" -m -u -p -n -- "$@"; }

node_down() { # number
  local i=$1 first kind round
  first=$(first_process "$i" 2>/dev/null)
  [ -n "$first" ] && kill -9 "$first"
  sleep 0.3
  rm -f "$RUN/pid/n$i"
  ip netns del "$P-n$i" 2>/dev/null
  for round in 1 2 3 4 5; do
    for kind in $cgroups; do
      [ -d "/sys/fs/cgroup/$kind/$P/n$i" ] &&
        find "/sys/fs/cgroup/$kind/$P/n$i" -depth -type d -exec rmdir {} + 2>/dev/null
    done
    sleep 0.1
  done
  rm -rf "$RUN/n$i"
}

control() { within cp env KUBECONFIG="$RUN/admin.kubeconfig" "$@"; }

wait_nodes() { # how many
  local i
  for ((i = 0; i < 900; i++)); do
    [ "$(control kubectl get nodes --no-headers 2>/dev/null | grep -c ' Ready ')" -ge "$1" ] && return
    sleep 0.2
  done
  echo "lab: $1 nodes are not ready" >&2
  return 1
}

down() {
  local file name i
  for file in "$RUN"/pid/n*; do [ -e "$file" ] && node_down "${file##*/n}"; done
  for name in sched kcm apiserver etcd; do
    [ -f "$RUN/pid/$name" ] && kill "$(cat "$RUN/pid/$name")" 2>/dev/null
    [ $name = apiserver ] && sleep 1
  done
  sleep 0.5
  for name in apiserver etcd; do
    [ -f "$RUN/pid/$name" ] && kill -9 "$(cat "$RUN/pid/$name")" 2>/dev/null
  done
  ip netns del "$P-cl" 2>/dev/null
  ip netns del "$P-cp" 2>/dev/null
  for name in $cgroups; do rmdir "/sys/fs/cgroup/$name/$P" 2>/dev/null; done
  rm -rf "$RUN"
}

command=${1:-}
shift || true
case $command in
  up)
    control_plane
    for ((i = 1; i <= $1; i++)); do node_up $i; done
    wait_nodes "$1"
    ;;
  node) node_up "$1" ;;
  losenode) node_down "$1" ;;
  rmnode) node_down "$1"; control kubectl delete node "$P-n$1" ;;
  apioff) kill -9 "$(cat "$RUN/pid/apiserver")" ;;
  apion) api_server ;;
  load)
    for file in "$RUN"/pid/n*; do
      for archive in "$@"; do
        node_in "${file##*/n}" ctr -n k8s.io images import "$archive" > /dev/null || exit 1
      done
    done
    ;;
  k) control kubectl "$@" ;;
  helm) control "${HELM:-helm}" "$@" ;;
  client) within cl "$@" ;;
  in) i=$1; shift; node_in "$i" "$@" ;;
  down) down ;;
  *) sed -n 2,12p "$0"; exit 2 ;;
esac

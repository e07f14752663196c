#!/bin/bash
# The first process of a lab's node, in its own mount, PID, UTS and network namespaces.
name=$1 number=$2 address=$3
folder=$RUN/n$number
export PATH="$BIN:$PATH"
hostname "$name"
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/containerd /run/lock
own() { mkdir -p "$2"; mount --bind "$folder/$1" "$2"; }
own kubelet /var/lib/kubelet
own containerd /var/lib/containerd
own cni-state /var/lib/cni
own log-pods /var/log/pods
own log-containers /var/log/containers
own cni /etc/cni/net.d
# The kubelet writes settings of the whole machine: it gets copies of its own.
for file in vm/overcommit_memory kernel/panic kernel/panic_on_oops \
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  copy=/run/sys-${file//\//-}
  cat "/proc/sys/$file" > "$copy"
  mount --bind "$copy" "/proc/sys/$file"
done
mount --make-rshared /
containerd -c "$folder/containerd.toml" > "$RUN/log/n$number-containerd.log" 2>&1 &
for ((i = 0; i < 300; i++)); do
  ctr version > /dev/null 2>&1 && break
  sleep 0.1
done
for archive in "$IMAGES"/*.tar; do
  [ -e "$archive" ] && ctr -n k8s.io images import "$archive"
done
kubelet --config="$folder/kubelet.yaml" --kubeconfig="$RUN/n$number.kubeconfig" \
  --hostname-override="$name" --node-ip="$address" --root-dir=/var/lib/kubelet \
  > "$RUN/log/n$number-kubelet.log" 2>&1 &
kube-proxy --config="$folder/proxy.yaml" > "$RUN/log/n$number-proxy.log" 2>&1 &
# It takes in orphans until it is killed, and everything here with it.
while :; do wait -n 2>/dev/null || sleep 5; done

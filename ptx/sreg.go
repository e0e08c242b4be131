package ptx

func (k *Builder) special32(name string, elem byte) RegU32 {
	d := New[RegU32](k)
	k.emit("mov.u32", d.op(), Special{Name: name, Elem: elem})
	return d
}

// Special registers (PTX ISA, "Special Registers"). Each call emits a mov.

func (k *Builder) TidX() RegU32            { return k.special32("tid", 'x') }
func (k *Builder) TidY() RegU32            { return k.special32("tid", 'y') }
func (k *Builder) TidZ() RegU32            { return k.special32("tid", 'z') }
func (k *Builder) NtidX() RegU32           { return k.special32("ntid", 'x') }
func (k *Builder) NtidY() RegU32           { return k.special32("ntid", 'y') }
func (k *Builder) NtidZ() RegU32           { return k.special32("ntid", 'z') }
func (k *Builder) CtaidX() RegU32          { return k.special32("ctaid", 'x') }
func (k *Builder) CtaidY() RegU32          { return k.special32("ctaid", 'y') }
func (k *Builder) CtaidZ() RegU32          { return k.special32("ctaid", 'z') }
func (k *Builder) NctaidX() RegU32         { return k.special32("nctaid", 'x') }
func (k *Builder) NctaidY() RegU32         { return k.special32("nctaid", 'y') }
func (k *Builder) NctaidZ() RegU32         { return k.special32("nctaid", 'z') }
func (k *Builder) LaneID() RegU32          { return k.special32("laneid", 0) }
func (k *Builder) LaneMaskLt() RegU32      { return k.special32("lanemask_lt", 0) }
func (k *Builder) LaneMaskLe() RegU32      { return k.special32("lanemask_le", 0) }
func (k *Builder) LaneMaskEq() RegU32      { return k.special32("lanemask_eq", 0) }
func (k *Builder) LaneMaskGe() RegU32      { return k.special32("lanemask_ge", 0) }
func (k *Builder) LaneMaskGt() RegU32      { return k.special32("lanemask_gt", 0) }
func (k *Builder) SmID() RegU32            { return k.special32("smid", 0) }
func (k *Builder) ClusterCtaRank() RegU32  { return k.special32("cluster_ctarank", 0) }
func (k *Builder) ClusterCtaidX() RegU32   { return k.special32("cluster_ctaid", 'x') }
func (k *Builder) ClusterCtaidY() RegU32   { return k.special32("cluster_ctaid", 'y') }
func (k *Builder) ClusterNctaidX() RegU32  { return k.special32("cluster_nctaid", 'x') }
func (k *Builder) ClusterIDX() RegU32      { return k.special32("clusterid", 'x') }
func (k *Builder) ClusterIDY() RegU32      { return k.special32("clusterid", 'y') }
func (k *Builder) DynamicSmemSize() RegU32 { return k.special32("dynamic_smem_size", 0) }
func (k *Builder) Clock() RegU32           { return k.special32("clock", 0) }

// GlobalTimer is the time in nanoseconds.
func (k *Builder) GlobalTimer() RegU64 {
	d := New[RegU64](k)
	k.emit("mov.u64", d.op(), Special{Name: "globaltimer"})
	return d
}

// Clock64 is the multiprocessor's cycle counter.
func (k *Builder) Clock64() RegU64 {
	d := New[RegU64](k)
	k.emit("mov.u64", d.op(), Special{Name: "clock64"})
	return d
}

// GridID tells launches apart.
func (k *Builder) GridID() RegU64 {
	d := New[RegU64](k)
	k.emit("mov.u64", d.op(), Special{Name: "gridid"})
	return d
}

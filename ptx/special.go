package ptx

// SpecialRegister is a row of the table of special registers (PTX ISA, "Special
// Registers").
type SpecialRegister struct {
	Name    string // without %
	Type    Type
	Vector  bool // has the elements x, y, z
	Version Version
	SM      int // smallest compute capability
}

var specialTable = func() map[string]*SpecialRegister {
	m := map[string]*SpecialRegister{}
	add := func(t Type, vec bool, v Version, sm int, names ...string) {
		for _, n := range names {
			m[n] = &SpecialRegister{n, t, vec, v, sm}
		}
	}
	add(U32, true, Version{2, 0}, 0, "tid", "ntid", "ctaid", "nctaid")
	add(U32, false, Version{1, 3}, 0, "laneid", "warpid", "smid")
	add(U32, false, Version{2, 0}, 20, "nwarpid", "nsmid")
	add(U64, false, Version{3, 0}, 0, "gridid")
	add(Pred, false, Version{7, 8}, 90, "is_explicit_cluster")
	add(U32, true, Version{7, 8}, 90, "clusterid", "nclusterid", "cluster_ctaid", "cluster_nctaid")
	add(U32, false, Version{7, 8}, 90, "cluster_ctarank", "cluster_nctarank")
	add(U32, false, Version{2, 0}, 20, "lanemask_eq", "lanemask_le", "lanemask_lt", "lanemask_ge", "lanemask_gt")
	add(U32, false, Version{1, 0}, 0, "clock")
	add(U32, false, Version{5, 0}, 20, "clock_hi")
	add(U64, false, Version{2, 0}, 20, "clock64")
	for i := range 8 {
		n := "pm" + string(byte('0'+i))
		add(U32, false, Version{3, 0}, 20, n)
		add(U64, false, Version{4, 0}, 50, n+"_64")
	}
	for i := range 32 {
		n := "envreg"
		if i >= 10 {
			n += string(byte('0' + i/10))
		}
		add(B32, false, Version{2, 1}, 0, n+string(byte('0'+i%10)))
	}
	add(U64, false, Version{3, 1}, 30, "globaltimer")
	add(U32, false, Version{3, 1}, 30, "globaltimer_lo", "globaltimer_hi")
	add(B32, false, Version{7, 6}, 80, "reserved_smem_offset_begin", "reserved_smem_offset_end",
		"reserved_smem_offset_cap", "reserved_smem_offset_0", "reserved_smem_offset_1")
	add(U32, false, Version{4, 1}, 20, "total_smem_size", "dynamic_smem_size")
	add(U32, false, Version{8, 1}, 90, "aggr_smem_size")
	add(U64, false, Version{8, 0}, 50, "current_graph_exec")
	return m
}()

// LookupSpecial gives the row of the special register with this name (without %).
func LookupSpecial(name string) (*SpecialRegister, bool) {
	s, ok := specialTable[name]
	return s, ok
}
